# Every stanza and field there is. Where a field has a default, this is it, or it is commented out.
# The reference with words is ../operations.md.

realm         = "default"
realm_aliases = []
# origin_key  = "file:///etc/selkie/origin"   # once set, decrypt requires it
log_level     = "info"                        # trace, debug, info, warn, error
log_format    = "standard"                    # standard, json
api_addr      = "https://selkie.example.com:8200"
cluster_name  = "selkie-default"
pid_file      = "/run/selkie.pid"
disable_mlock = true                          # false locks the whole process into memory

listener "tcp" {
  address = "127.0.0.1:8200"                  # or: activated_socket = "NAME" or 0

  tls_disable     = false
  tls_cert_file   = "/etc/selkie/cert.pem"
  tls_key_file    = "/etc/selkie/key.pem"
  tls_min_version = "tls12"
  tls_max_version = "tls13"
  # tls_client_ca_file               = "/etc/selkie/clients.pem"
  tls_require_and_verify_client_cert = false
  tls_disable_client_certs           = false

  # proxy_protocol_behavior                = "deny_unauthorized"  # allow_authorized, use_always
  # proxy_protocol_authorized_addrs        = ["10.0.0.4"]
  # x_forwarded_for_authorized_addrs       = ["10.0.0.4"]
  # x_forwarded_for_hop_skips              = 0
  # x_forwarded_for_reject_not_authorized  = true
  # x_forwarded_for_reject_not_present     = true

  max_request_size         = 33554432         # bytes
  max_connections          = 10000
  max_in_flight_requests   = 1024
  http_read_header_timeout = "10s"
  http_read_timeout        = "30s"
  http_idle_timeout        = "5m"
}

seal "static" {
  name           = "static"
  priority       = 1                          # needed with more than one seal; lowest first
  disabled       = false                      # true: still opens, wraps nothing more
  current_key_id = "2026-11"
  current_key    = "file:///etc/selkie/kek-2026-11"

  # Older versions, which only open. For one alone also: previous_key_id and previous_key.
  previous "2025-11" { key = "file:///etc/selkie/kek-2025-11" }
}

storage "inmem" {}                            # keys made through the API, lost at exit

mount "transit" {
  aliases = []
}

key "autounseal" {
  mount                  = "transit"          # needed with more than one mount
  seals                  = ["static"]         # default: all enabled ones
  generation             = 0                  # or: version = 1
  min_decryption_version = 0
  min_encryption_version = 0
  exportable             = false              # nothing else is possible
}

client "vault-eu" {
  token_sha256      = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies          = ["vault-eu-seal"]
  period            = "24h"                   # without it the token is not renewable
  token_bound_cidrs = ["127.0.0.0/8", "::1"]  # without it: from anywhere
  no_default_policy = false
}

policy "vault-eu-seal" {
  # file = "/etc/selkie/vault-eu.hcl"         # instead of the rules
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}
