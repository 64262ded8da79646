listener "tcp" {
  tls_disable = true
}
seal "pkcs11" {
  name             = "one"
  priority         = 1
  lib              = "libhsm.so"
  program          = "selkie-pkcs11"
  slot             = "first"
  pin              = "1234"
  key_label        = ""
  key_id           = "01"
  mechanism        = "CKM_AES_CBC"
  max_parallel     = 0
  timeout          = "2m"
  environment      = { GLIBC_TUNABLES = "x" }
  generate_key     = true
  hmac_key_label   = "hmac"
}
seal "pkcs11" {
  name             = "two"
  priority         = 2
  lib              = "/lib/hsm.so"
  token_label      = "hsm"
  pin              = "env://NO_PIN"
  key_id           = "zz"
  previous_key_ids = ["", "123g"]
  max_parallel     = "many"
  serial           = 5
}
seal "pkcs11" {
  name             = "three"
  priority         = 3
  lib              = "/lib/hsm.so"
  slot             = 0
  pin              = "file:///keys/secret"
  key_label        = "unseal"
  previous_key_ids = ["01"]
}
seal "pkcs11" {
  name             = "four"
  priority         = 4
  lib              = "/lib/hsm.so"
  slot             = 0
  pin              = "file:///keys/secret"
  key_id           = "01"
  previous_key_ids = ["02", "0x1"]
}
seal "pkcs11" {
  name             = "five"
  priority         = 5
  lib              = "/lib/hsm.so"
  slot             = 0
  pin              = "file:///keys/secret"
  key_id           = "zz"
}
#! 7:22: field "lib": must be an absolute path
#! 8:22: field "program": must be an absolute path
#! 9:22: "slot" (or VAULT_HSM_SLOT): expected a number such as 0 or "0x1f"
#! 10:22: field "pin": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
#! 11:22: "key_label": must have 1 to 64 bytes
#! 13:22: "mechanism" (or VAULT_HSM_MECHANISM): there are "CKM_AES_GCM", "CKM_AES_KEY_WRAP" and "CKM_RSA_PKCS_OAEP"
#! 14:22: field "max_parallel": must be from 1 to 256
#! 15:22: field "timeout": must be from 1s to 60s
#! 16:22: field "environment": a name has A-Z a-z 0-9 and _, each one value, and GLIBC_TUNABLES is ours
#! 17:3: Selkie never makes a key: pkcs11-tool --keygen --key-type AES:32 --label LABEL --id 01
#! 18:3: no second key is needed: what is wrapped is authenticated by the mechanism itself
#! 25:22: field "pin": environment variable "NO_PIN" is not set
#! 27:23: field "previous_key_ids": expected a CKA_ID as 1 to 64 bytes of hex, such as "01"
#! 27:27: field "previous_key_ids": expected a CKA_ID as 1 to 64 bytes of hex, such as "01"
#! 28:22: "max_parallel" (or VAULT_HSM_MAX_PARALLEL): expected a whole number
#! 29:22: field "serial": expected a string, found a number
#! 31:1: "previous_key_ids" has no meaning without "key_id" (or VAULT_HSM_KEY_ID)
#! 47:29: field "previous_key_ids": "0x1" is listed twice, or is the current one
#! 55:22: field "key_id": expected a CKA_ID as 1 to 64 bytes of hex, such as "01"
