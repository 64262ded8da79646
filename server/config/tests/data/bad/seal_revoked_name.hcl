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
#! 4:6: another seal has the name or alias "static" already. Leave the name of the seal in use as it is (its default is its type), since what is encrypted names it, and give the new one another "name"
