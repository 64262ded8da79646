listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {}
#! 4:1: missing vault: set "vault_name" or VAULT_AZUREKEYVAULT_VAULT_NAME, or "endpoint"
#! 4:1: missing key: set "key_name" or VAULT_AZUREKEYVAULT_KEY_NAME
