listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "azurekeyvault" {
  name    = "static"
  revoked = true
}
#! 4:6: another seal has the name "static" already; set "name"
