listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "a"
  priority = 1
  key_name = "selkie"
  endpoint = "http://kv1.vault.azure.net"
}
seal "azurekeyvault" {
  name = "b"
  priority = 2
  key_name = "selkie"
  endpoint = "https://kv1.vault.azure.net/keys/selkie"
}
seal "azurekeyvault" {
  name = "c"
  priority = 3
  key_name = "selkie"
  endpoint = "https://user@kv1.vault.azure.net"
}
seal "azurekeyvault" {
  name = "d"
  priority = 4
  key_name = "selkie"
  endpoint = "kv1.vault.azure.net"
}
seal "azurekeyvault" {
  name = "e"
  priority = 5
  key_name = "selkie"
  endpoint = "https://kv1.vault.azure.net?x=1"
}
#! 8:14: field "endpoint": must begin with "https://": tokens and unwrapped keys never travel in clear
#! 14:14: field "endpoint": must be scheme, host and port alone, without path, query or user name
#! 20:14: field "endpoint": must be scheme, host and port alone, without path, query or user name
#! 26:14: field "endpoint": expected a URL such as "https://kv1.vault.azure.net"
#! 32:14: field "endpoint": must be scheme, host and port alone, without path, query or user name
