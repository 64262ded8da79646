# One server whose keys are also made, rotated and configured through the API, kept on this machine.
# What is declared here needs nothing of it, and serves also while the storage does not open.

realm    = "prod-eu"
data_dir = "/var/lib/selkie"                    # systemd: StateDirectory=selkie

# Opens the state at a start without any seal, and signs what is kept in data_dir. 32 bytes of this
# machine, for instance a systemd credential.
local_key = "file:///etc/selkie/local"

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/selkie/cert.pem"
  tls_key_file  = "/etc/selkie/key.pem"
}

seal "static" {
  current_key_id = "2026-11"
  current_key    = "file:///etc/selkie/kek-2026-11"
}

# In data_dir's folder "state", as no path is given.
storage "sled" {
  # create = false        # once the first start is done: an empty folder is then refused, not a beginning
}

key "autounseal" {}

client "operator" {
  # Replace it: nobody has the token of this hash. `selkie client add` prints yours.
  token_sha256 = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies     = ["keys"]
}

policy "keys" {
  path "transit/keys/*" { capabilities = ["create", "read", "update", "list"] }
  path "transit/encrypt/*" { capabilities = ["update"] }
  path "transit/decrypt/*" { capabilities = ["update"] }
  path "sys/seal-backend-status" { capabilities = ["read"] }               # selkie status
  path "sys/drill/" { capabilities = ["list"] }                            # selkie drill
  path "sys/drill/*" { capabilities = ["update", "sudo"] }
  path "sys/storage/selkie/snapshot" { capabilities = ["read", "sudo"] }   # selkie backup
}
