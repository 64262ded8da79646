listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  poll_interval = "25h"
}
#! 7:19: field "poll_interval": must be from 1s to 86400s
