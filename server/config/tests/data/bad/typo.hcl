listener "tcp" {
  tls_disabel = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
relm = "x"
listner "tcp" {}
#! 1:1: no TLS: set "tls_cert_file" and "tls_key_file", or "tls_disable = true" where something else protects the connection
#! 2:3: unknown field "tls_disabel" in listener "tcp"; did you mean "tls_disable"?
#! 8:1: unknown field "relm"; did you mean "realm"?
#! 9:1: unknown block "listner"; did you mean "listener"?
