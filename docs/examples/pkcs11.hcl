# The master key in an HSM, over its maker's PKCS#11 library, which is loaded by the program
# selkie-pkcs11 beside selkie. The PIN is in a file that only Selkie's user may read; with systemd:
# LoadCredentialEncrypted=hsm-pin and pin = "file:///run/credentials/selkie.service/hsm-pin".

data_dir = "/var/lib/selkie"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/selkie/cert.pem"
  tls_key_file  = "/etc/selkie/key.pem"
}

seal "pkcs11" {
  lib         = "/usr/lib/softhsm/libsofthsm2.so"
  token_label = "selkie"
  pin         = "file:///etc/selkie/hsm-pin"
  key_label   = "unseal"

  # After a rotation: the new key, and those before it, which still open.
  key_id           = "02"
  previous_key_ids = ["01"]

  # All that the library sees of an environment.
  environment = {
    SOFTHSM2_CONF = "/etc/softhsm2.conf"
  }
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
