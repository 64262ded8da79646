# Everything that a configuration may say.
realm          = "prod-eu"
realm_aliases  = ["prod"]
origin_key     = "file:///keys/origin"
log_level      = "debug"
log_format     = "json"
api_addr       = "https://selkie.example.com:8200"
cluster_name   = "selkie-eu"
pid_file       = "/run/selkie.pid"
disable_mlock  = false

listener "tcp" {
  address                            = "[::]:8200"
  tls_cert_file                      = "/etc/selkie/tls.crt"
  tls_key_file                       = "/etc/selkie/tls.key"
  tls_min_version                    = "tls13"
  tls_max_version                    = "tls13"
  tls_client_ca_file                 = "/etc/selkie/clients.pem"
  tls_require_and_verify_client_cert = true
  tls_client_crl_file                = ["/etc/selkie/revoked.pem", "/etc/selkie/crls"]
  tls_client_crl_strict              = true

  proxy_protocol_behavior         = "deny_unauthorized"
  proxy_protocol_authorized_addrs = "10.0.0.1, 192.168.7.9/16"

  x_forwarded_for_authorized_addrs      = ["10.0.0.0/8", "fd00::/8"]
  x_forwarded_for_hop_skips             = "1"
  x_forwarded_for_reject_not_authorized = false
  x_forwarded_for_reject_not_present    = false

  max_request_size         = 1048576
  max_connections          = 500
  max_in_flight_requests   = 64
  http_read_header_timeout = "5s"
  http_read_timeout        = 20
  http_idle_timeout        = "1m30s"
}

listener "tcp" {
  activated_socket = "selkie.socket"
  tls_disable      = true
}

listener "tcp" {
  activated_socket = 1
  tls_disable      = true
}

seal "static" {
  name            = "old"
  priority        = "2"
  current_key_id  = "2024"
  current_key     = "file:///keys/raw"
  previous_key_id = "2023"
  previous_key    = "env://KEY_HEX"

  previous "2022" {
    key = "file:///keys/base64"
  }
}

seal "static" {
  name           = "new"
  priority       = 1
  current_key_id = "2026"
  current_key    = "file:///keys/new"
}

seal "static" {
  name           = "retired"
  priority       = 3
  disabled       = true
  current_key_id = "2019"
  current_key    = "file:///keys/retired"
}

storage "inmem" {}

mount "transit" {
  aliases = ["unseal/transit"]
}

mount "team/a/transit/" {}

key "autounseal" {
  mount      = "transit"
  seals      = ["old", "new"]
  generation = 3
}

key "autounseal" {
  mount                  = "team/a/transit"
  version                = 7
  min_decryption_version = 2
  min_encryption_version = 7
  exportable             = false
}

policy "vault-eu" {
  path "transit/encrypt/autounseal" {
    capabilities = ["update"]
  }
  path "transit/decrypt/autounseal" {
    capabilities = ["update"]
  }
}

policy "shared" {
  file = "/etc/selkie/shared.hcl"
}

client "vault-eu-1" {
  token_sha256      = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  policies          = ["vault-eu", "Shared", "default"]
  period            = "24h"
  token_bound_cidrs = ["10.1.0.0/16"]
}

client "admin@example.com" {
  token_sha256      = "60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752"
  policies          = ["root"]
  no_default_policy = true
}

audit_key = "file:///keys/base64"

audit "file" {
  file_path = "/var/log/selkie/audit.log"
  mode      = "0640"
  fsync     = true
}

audit "syslog" {
  path        = "log"
  description = "the collector"
  facility    = "local3"
  tag         = "selkie-eu"
}

audit "socket" {
  address             = "127.0.0.1:9090"
  socket_type         = "udp"
  write_timeout       = "1s"
  checkpoint_interval = "10s"
}

alerts {
  learning          = "0s"
  network_prefix_v4 = 32
  network_prefix_v6 = 56
  burst {
    decrypts = 100
    window   = "10m"
  }
  webhook {
    url      = "https://hooks.example.com/T0/s3cret?x=1"
    ca_file  = "/etc/selkie/ca.pem"
    proxy    = "file:///keys/proxy"
    headers  = ["Authorization=file:///keys/secret"]
    hmac_key = "file:///keys/new"
    timeout  = "3s"
  }
}

client "vault-us" {
  policies = ["vault-eu"]
  certificate {
    sha256      = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
    spiffe_id   = "spiffe://example.org/vault/us"
    dns_san     = ["vault-us.example.com", "*.us.example.com"]
    uri_san     = "spiffe://example.org/*"
    email_san   = "vault@example.com"
    common_name = "vault-us*"
    ca_file     = "/etc/selkie/vaults.pem"
    crl_file    = "/etc/selkie/vaults.crl"
  }
}

client "vault-both" {
  token_sha256 = "f0e4c2f76c58916ec258f246851bea091d14d4247a2fc3e18694461b1816e13b"
  policies     = ["vault-eu"]
  certificate {
    common_name = "vault-us-1"
  }
}

auth "approle" {
  path              = "team/machines"
  description       = "of the team"
  default_lease_ttl = "20m"
  max_lease_ttl     = "12h"

  role "Web" {
    role_id                 = "the-web"
    secret_id_num_uses      = 40
    secret_id_ttl           = "10m"
    secret_id_bound_cidrs   = ["10.1.0.0/16"]
    token_policies          = ["vault-eu"]
    token_period            = "1h"
    token_bound_cidrs       = "10.0.0.0/8"
    token_no_default_policy = true
  }
}
