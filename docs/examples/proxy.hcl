# Two listeners: one behind a TCP load balancer that speaks the PROXY protocol, on a socket that
# systemd opened; one on loopback behind an HTTP proxy on the same machine, which ends TLS.

listener "tcp" {
  activated_socket                = "selkie"
  tls_cert_file                   = "/etc/selkie/cert.pem"
  tls_key_file                    = "/etc/selkie/key.pem"
  tls_min_version                 = "tls13"
  proxy_protocol_behavior         = "deny_unauthorized"
  proxy_protocol_authorized_addrs = ["10.0.0.4", "10.0.0.5"]
}

listener "tcp" {
  address                          = "127.0.0.1:8300"
  tls_disable                      = true
  x_forwarded_for_authorized_addrs = "127.0.0.1"
}

seal "static" {
  current_key_id = "2026-11"
  current_key    = "file:///etc/selkie/kek-2026-11"
}

key "autounseal" {}

client "vault-eu" {
  # Replace it: nobody has the token of this hash. `selkie client add` prints yours.
  token_sha256      = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies          = ["vault-eu-seal"]
  period            = "24h"
  token_bound_cidrs = ["10.0.0.0/8"]
}

policy "vault-eu-seal" {
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}
