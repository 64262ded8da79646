listener "tcp" {
  address = "0.0.0.0:8200"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: no TLS: set "tls_cert_file" and "tls_key_file", or "tls_disable = true" where something else protects the connection
