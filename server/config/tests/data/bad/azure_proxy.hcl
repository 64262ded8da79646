listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "a"
  priority = 1
  vault_name = "kv10"
  key_name = "selkie"
  proxy = "https://proxy.test"
}
seal "azurekeyvault" {
  name = "b"
  priority = 2
  vault_name = "kv11"
  key_name = "selkie"
  proxy = "http://proxy.test/path"
}
seal "azurekeyvault" {
  name = "c"
  priority = 3
  vault_name = "kv12"
  key_name = "selkie"
  proxy = "http://user:hunter2@proxy.test"
}
seal "azurekeyvault" {
  name = "d"
  priority = 4
  vault_name = "kv13"
  key_name = "selkie"
  proxy = "http://"
}
#! 9:11: field "proxy": a proxy is spoken to by plain HTTP: it must begin with "http://"
#! 16:11: field "proxy": a proxy has no path
#! 23:11: field "proxy": a secret never stands in this file: move the URL to a file or variable and write "file:///path" or "env://NAME"
#! 30:11: field "proxy": expected a URL such as "http://proxy.example.com:3128"
