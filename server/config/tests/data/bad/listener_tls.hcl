listener "tcp" {
  tls_cert_file = "/a"
  tls_key_file = "/b"
  tls_min_version = "tls13"
  tls_max_version = "tls12"
  tls_require_and_verify_client_cert = true
  tls_disable_client_certs = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: field "tls_max_version": is below "tls_min_version"
#! 1:1: "tls_disable_client_certs" and "tls_require_and_verify_client_cert" exclude each other
#! 1:1: "tls_require_and_verify_client_cert" needs "tls_client_ca_file": without it nobody's certificate could be verified
