# The same on a laptop, against `selkie-emulator`, which plays Key Vault and managed identity:
#
#   selkie-emulator --ca-dir /tmp/selkie-emulator &
#   selkie server --config docs/examples/azure-emulator.hcl &
#
#   export VAULT_ADDR=http://127.0.0.1:8200
#   VAULT_TOKEN=selkie-emulator-trial-token-known-to-everybody vault write transit/encrypt/autounseal plaintext=aGVsbG8=
#   VAULT_TOKEN=selkie-emulator-trial-operator-known-to-everybody selkie status
#
# Both tokens stand here for everybody to read. Never put their hashes into another file:
# `selkie client add` makes a token of your own. Nothing is kept: there is no data_dir.

listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

seal "azurekeyvault" {
  vault_name    = "kv1"
  key_name      = "selkie"
  endpoint      = "https://localhost:8443"
  imds_endpoint = "http://127.0.0.1:8444"
  ca_file       = "/tmp/selkie-emulator/ca.pem"
  poll_interval = "10s"
}

key "autounseal" {}

# The Vault: selkie-emulator-trial-token-known-to-everybody
client "vault" {
  token_sha256 = "56fb1fbcc2c7fbe81c8bc11e6bd84376fde1df332fe447dc4ea8121ee9758942"
  policies     = ["vault-seal"]
  period       = "24h"
}

# Whoever watches: selkie-emulator-trial-operator-known-to-everybody
client "operator" {
  token_sha256 = "e01e06ebbaae61ed238c070ace2405a44eb61bc9233ce85b9454cd93bc88c33b"
  policies     = ["watch"]
}

policy "vault-seal" {
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}

policy "watch" {
  path "sys/seal-backend-status" { capabilities = ["read"] }
  path "sys/metrics" { capabilities = ["read"] }
}
