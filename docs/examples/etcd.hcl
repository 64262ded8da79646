# One of several servers that share their managed keys in an etcd cluster. All of them have this file
# and the same seals; each has a data_dir and a local_key of its own.

realm     = "prod-eu"
data_dir  = "/var/lib/selkie"
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

storage "etcd" {
  address       = "https://etcd-1.example.com:2379,https://etcd-2.example.com:2379,https://etcd-3.example.com:2379"
  path          = "selkie/"
  tls_ca_file   = "/etc/selkie/ca.pem"
  tls_cert_file = "/etc/selkie/cert.pem"        # a client certificate, or username and password
  tls_key_file  = "/etc/selkie/key.pem"
  # create      = false                         # once the first server has started: an empty prefix is then refused
}

# Metrics without a token, for whoever asks on this machine. Under selkie.service this port needs a line
# in `systemctl edit selkie`: SocketBindAllow=tcp:9102, below [Service].
telemetry {
  metrics_address = "127.0.0.1:9102"
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
