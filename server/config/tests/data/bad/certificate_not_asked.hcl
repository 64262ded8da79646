listener "tcp" {
  tls_disable = true
  tls_client_crl_strict = true
  tls_client_crl_file = "/x"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
client "a" {
  policies = []
  certificate {
    common_name = "a"
  }
}
#! 4:25: field "tls_client_crl_file" needs "tls_client_ca_file": whose lists would they be?
#! 12:3: no listener asks clients for certificates: set its "tls_client_ca_file"
