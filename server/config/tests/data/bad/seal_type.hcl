listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "x"
}
seal "shamir" {}
#! 4:6: seal type "azurekeyvault" is not in this build yet: there is "static"
#! 7:6: seal type "shamir" does not exist: there is "static"
