# A server with everything declared: it needs no database, and a second copy of it behind a load
# balancer opens what the first one encrypted. Keys and certificates stay in files of their own.

realm = "prod-eu"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/selkie/cert.pem"
  tls_key_file  = "/etc/selkie/key.pem"
}

seal "static" {
  current_key_id = "2026-11"
  current_key    = "file:///etc/selkie/kek-2026-11"
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
  path "transit/encrypt/autounseal" {
    capabilities = ["update"]
  }
  path "transit/decrypt/autounseal" {
    capabilities = ["update"]
  }
}
