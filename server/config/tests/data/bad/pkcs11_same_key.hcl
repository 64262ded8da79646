listener "tcp" {
  tls_disable = true
}
seal "pkcs11" {
  name        = "one"
  priority    = 1
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_label   = "unseal"
  key_id      = "01"
}
seal "pkcs11" {
  name        = "other-token"
  priority    = 2
  lib         = "/lib/hsm.so"
  token_label = "other"
  pin         = "file:///keys/secret"
  key_label   = "unseal"
  key_id      = "01"
}
seal "pkcs11" {
  name        = "other-key"
  priority    = 3
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_label   = "unseal"
  key_id      = "02"
}
seal "pkcs11" {
  name        = "same-id"
  priority    = 4
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_id      = "0x1"
}
seal "pkcs11" {
  name        = "same-label"
  priority    = 5
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_label   = "unseal"
}
seal "pkcs11" {
  name        = "another-label"
  priority    = 6
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_label   = "another"
}
seal "pkcs11" {
  name        = "previous"
  priority    = 7
  lib         = "/lib/hsm.so"
  token_label = "hsm"
  pin         = "file:///keys/secret"
  key_id      = "03"
  previous_key_ids = ["02"]
}
#! 31:6: the seal "one" has this master key already
#! 39:6: the seal "one" has this master key already
#! 55:6: the seal "other-key" has this master key already
