# The same on a laptop, against `selkie-emulator`, which plays Key Vault and managed identity.

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

seal "azurekeyvault" {
  vault_name    = "kv1"
  key_name      = "selkie"
  endpoint      = "https://localhost:8443"
  imds_endpoint = "http://127.0.0.1:8444"
  ca_file       = "/etc/selkie/emulator-ca.pem"
  poll_interval = "10s"
}

key "autounseal" {}

client "vault" {
  token_sha256 = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies     = ["vault-seal"]
  period       = "24h"
}

policy "vault-seal" {
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}
