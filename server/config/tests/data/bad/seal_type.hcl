listener "tcp" {
  tls_disable = true
}
seal "awskms" {
  region = "x"
}
seal "shamir" {}
#! 4:6: seal type "awskms" is not in this build yet: there are "azurekeyvault", "static" and "transit"
#! 7:6: seal type "shamir" does not exist: there are "azurekeyvault", "static" and "transit"
