listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "weu"
  priority = 1
  vault_name = "kv10"
  key_name = "selkie"
}
seal "azurekeyvault" {
  name = "neu"
  priority = 2
  vault_name = "kv11"
  key_name = "selkie"
}
seal "azurekeyvault" {
  name = "far"
  priority = 3
  vault_name = "kv12"
  key_name = "selkie"
}
#$ VAULT_AZUREKEYVAULT_VAULT_NAME=kv9
#$ AZURE_CLIENT_ID=03dc33fc-16d9-4b77-8152-3ec568f8af6e
#! 10:6: environment variable AZURE_CLIENT_ID would apply to the seals "weu" and "neu" alike: set it empty and write "client_id" in each
#! 10:6: environment variable VAULT_AZUREKEYVAULT_VAULT_NAME would apply to the seals "weu" and "neu" alike: set it empty and write "vault_name" in each
