listener "tcp" {
  tls_disable = true
}
seal "pkcs11" {}
#! 4:1: missing field "lib" (or VAULT_HSM_LIB)
#! 4:1: name the token by "slot" (or VAULT_HSM_SLOT), "token_label" (or VAULT_HSM_TOKEN_LABEL) or "serial"
#! 4:1: missing field "pin" (or VAULT_HSM_PIN)
#! 4:1: name the key by "key_label" (or VAULT_HSM_KEY_LABEL), "key_id" (or VAULT_HSM_KEY_ID) or both
