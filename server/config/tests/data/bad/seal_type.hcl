listener "tcp" {
  tls_disable = true
}
seal "awskms" {
  region = "x"
}
seal "shamir" {}
#! 4:6: seal type "awskms" is not in this build yet: there are "azurekeyvault", "pkcs11", "static", "transit" and "break-glass"
#! 7:6: seal type "shamir" does not exist: there are "azurekeyvault", "pkcs11", "static", "transit" and "break-glass"
