listener "tcp" {
  tls_disable = true
}
seal "pkcs11" {
  name        = "one"
  priority    = 1
  lib         = "/lib/hsm.so"
  token_label = "one"
  key_label   = "unseal"
  pin         = "file:///keys/secret"
}
seal "pkcs11" {
  name        = "two"
  priority    = 2
  lib         = "/lib/hsm.so"
  token_label = "two"
  key_label   = "unseal"
  pin         = "file:///keys/secret"
}
#$ VAULT_HSM_PIN=1234
#! 12:6: environment variable VAULT_HSM_PIN would apply to the seals "one" and "two" alike: set it empty and write "pin" in each
