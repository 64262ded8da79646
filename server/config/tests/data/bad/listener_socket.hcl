listener "tcp" {
  tls_disable = true
  address = "127.0.0.1:1"
  activated_socket = ""
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 4:22: fields "address" and "activated_socket" exclude each other
#! 4:22: field "activated_socket": the name is empty
