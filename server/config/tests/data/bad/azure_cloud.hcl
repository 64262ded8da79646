listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "a"
  priority = 1
  vault_name = "kv10"
  key_name = "selkie"
  environment = "AZUREGERMANCLOUD"
}
seal "azurekeyvault" {
  name = "b"
  priority = 2
  vault_name = "kv11"
  key_name = "selkie"
  environment = "MOON"
}
seal "azurekeyvault" {
  name = "c"
  priority = 3
  vault_name = "kv12"
  key_name = "selkie"
  environment = "AZURESTACKCLOUD"
}
seal "azurekeyvault" {
  name = "d"
  priority = 4
  vault_name = "kv13"
  key_name = "selkie"
  resource = "https://vault.azure.net"
}
seal "azurekeyvault" {
  name = "e"
  priority = 5
  vault_name = "kv14"
  key_name = "selkie"
  authority_host = "http://login.microsoftonline.com"
}
#! 9:17: field "environment": the German cloud was closed in 2021
#! 16:17: field "environment": there are "AZUREPUBLICCLOUD", "AZURECHINACLOUD" and "AZUREUSGOVERNMENTCLOUD"; for another cloud set "endpoint", "resource" and "authority_host"
#! 23:17: field "environment": Azure Stack has no addresses of its own: remove it and set "endpoint", "resource" and "authority_host"
#! 30:14: field "resource": expected the suffix of a host's name such as "vault.azure.net", without scheme
#! 37:20: field "authority_host": must begin with "https://": tokens and unwrapped keys never travel in clear
