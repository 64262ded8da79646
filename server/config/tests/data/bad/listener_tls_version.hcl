listener "tcp" {
  tls_disable = true
  tls_min_version = "tls11"
  tls_cipher_suites = "x"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 3:21: field "tls_min_version": there are "tls12" and "tls13"
#! 4:3: field "tls_cipher_suites" is not used by Selkie: remove it
