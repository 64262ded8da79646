listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {}
#$ AZURE_ENVIRONMENT=MOON
#$ VAULT_AZUREKEYVAULT_VAULT_NAME=a/b
#$ VAULT_AZUREKEYVAULT_KEY_NAME=a/b
#$ HTTPS_PROXY=socks5://x
#! 4:1: environment variable AZURE_ENVIRONMENT: there are "AZUREPUBLICCLOUD", "AZURECHINACLOUD" and "AZUREUSGOVERNMENTCLOUD"; for another cloud set "endpoint", "resource" and "authority_host"
#! 4:1: environment variable VAULT_AZUREKEYVAULT_VAULT_NAME: a vault's name has 3 to 24 of the characters 0-9 A-Z a-z -
#! 4:1: environment variable VAULT_AZUREKEYVAULT_KEY_NAME: a key's name has no "/": the versions are found by themselves, and the vault is named by "vault_name"
#! 4:1: environment variable HTTPS_PROXY: a proxy is spoken to by plain HTTP: it must begin with "http://"
