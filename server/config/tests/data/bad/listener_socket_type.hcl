listener "tcp" {
  tls_disable = true
  activated_socket = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 3:22: field "activated_socket": expected a string or a whole number, found a boolean
