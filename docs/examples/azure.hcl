# The master key in Azure Key Vault, reached by the machine's managed identity: no credential is stored
# anywhere. The identity needs the role "Key Vault Crypto Service Encryption User" on the key. Without
# data_dir systemd's StateDirectory= is used.

data_dir = "/var/lib/selkie"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/selkie/cert.pem"
  tls_key_file  = "/etc/selkie/key.pem"
}

seal "azurekeyvault" {
  vault_name = "kv-selkie"
  key_name   = "selkie"
}

key "autounseal" {}

# Printed by `selkie client add vault-eu`; the token itself is known to that Vault alone.
client "vault-eu" {
  # Replace it: nobody has the token of this hash. `selkie client add` prints yours.
  token_sha256 = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies     = ["vault-eu-seal"]
  period       = "24h"
}

policy "vault-eu-seal" {
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}
