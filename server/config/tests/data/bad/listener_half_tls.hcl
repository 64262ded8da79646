listener "tcp" {
  tls_cert_file = "/a"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: missing field "tls_key_file": "tls_cert_file" and "tls_key_file" belong together
