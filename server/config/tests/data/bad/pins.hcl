listener "tcp" {
  tls_disable = true
}
data_dir = "var/lib"
local_key = "secret"
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
}
#! 4:12: field "data_dir": must be an absolute path
#! 5:13: field "local_key": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
