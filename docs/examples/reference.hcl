# Every stanza and field there is, in force or commented out. Where a field has a default, this is it, or it
# is commented out.
# The reference with words is ../configuration.md.

realm         = "default"
realm_aliases = []

default_lease_ttl = "768h"
max_lease_ttl     = "768h"
max_staleness          = "1h"                 # with storage "etcd": how long tokens are believed of which nothing is heard;
max_periodic_staleness = 0                    # the same of those with a period. 0: for ever, or "60s" to "87600h"
# origin_key  = "file:///etc/selkie/origin"   # once set, decrypt requires it
log_level     = "info"                        # trace, debug, info, warn, error
log_format    = "standard"                    # standard, json
api_addr      = "https://selkie.example.com:8200"
cluster_name  = "selkie-default"
# allow_faults = true     # lets --faults make a test bench of this server: never where anyone depends on it
pid_file      = "/run/selkie/pid"            # in a directory of its own: the server may write there
data_dir      = "/var/lib/selkie"             # what was learned of keys in Key Vault; default: STATE_DIRECTORY
# local_key   = "file:///etc/selkie/local"    # 32 bytes; proves after a restart that data_dir is ours
# audit_key   = "file:///etc/selkie/audit.key"   # 32 bytes; default: derived from origin_key, else from local_key
disable_mlock = true                          # false locks the whole process into memory
sandbox       = "auto"                        # "required": no start without landlock and seccomp; "off": for debuggers
# allow_readable_secrets = true               # takes files of secrets that others may read

listener "tcp" {
  address = "127.0.0.1:8200"                  # or: activated_socket = "NAME" or 0

  tls_disable     = false
  tls_cert_file   = "/etc/selkie/cert.pem"
  tls_key_file    = "/etc/selkie/key.pem"
  tls_min_version = "tls12"
  tls_max_version = "tls13"
  # tls_client_ca_file               = "/etc/selkie/clients.pem"
  # tls_client_crl_file              = ["/etc/selkie/crls"]   # files or directories
  # tls_client_crl_strict            = false  # true: no current list, no entry
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
  # aliases      = ["old-name"]               # names it had before; every seal may have some
  priority       = 1                          # needed with more than one seal; lowest first
  disabled       = false                      # true: still opens, wraps nothing more
  revoked        = false                      # true: opens nothing any more; every seal has it
  current_key_id = "2026-11"
  current_key    = "file:///etc/selkie/kek-2026-11"

  # Older versions, which only open. For one alone also: previous_key_id and previous_key.
  previous "2025-11" { key = "file:///etc/selkie/kek-2025-11" }
}

# Of a key that only people have (docs/break-glass.md): wrapped for, and never asked.
seal "break-glass" {
  name       = "break-glass"                  # the default
  disabled   = false
  public_key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED4NgcLD/dUwgo9YhoTRKZlWMXR7TIv/bnM109/Yo2PcugJW4aI2n+RC+Vu4NZ7E7oETogBL1R9vpv6Xgyf5YXA=="
}

# Where a field has a variable of the environment, as Vault has it, the variable wins; with two such
# seals it is refused. With all of them set the stanza may be empty.
seal "azurekeyvault" {
  name       = "weu"                          # default: azurekeyvault
  priority   = 2
  disabled   = false
  vault_name = "kv-selkie-weu"                # VAULT_AZUREKEYVAULT_VAULT_NAME
  key_name   = "selkie"                       # VAULT_AZUREKEYVAULT_KEY_NAME

  environment = "AZUREPUBLICCLOUD"            # AZURE_ENVIRONMENT; AZURECHINACLOUD, AZUREUSGOVERNMENTCLOUD
  resource    = "vault.azure.net"             # AZURE_AD_RESOURCE; Managed HSM: "managedhsm.azure.net"
  # former_vaults = ["kv-old.vault.azure.net"]   # where the key was before it was restored into this vault
  # endpoint  = "https://10.0.0.7"            # default: https://{vault_name}.{resource}
  # ca_file   = "/etc/selkie/azure-ca.pem"    # trusted for Key Vault and Entra instead of the system's
  # proxy     = "http://proxy:3128"           # default: HTTPS_PROXY, NO_PROXY; with password: file:// or env://
  # authority_host = "https://login.microsoftonline.com"   # default: the cloud's, in a pod AZURE_AUTHORITY_HOST

  # "auto", the default: a client secret if client_secret is set, else a certificate if
  # client_certificate_file is, else workload identity if federated_token_file is (each together with
  # tenant_id and client_id, or the file is refused), else managed identity. Others: app_service,
  # workload_identity, client_secret, client_certificate.
  identity    = "managed_identity"            # or OpenBao's auth_method
  client_id   = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"   # AZURE_CLIENT_ID; none: the machine's own
  # object_id       = "..."                   # instead of client_id
  # resource_id     = "/subscriptions/..."    # instead of client_id; VAULT_AZUREKEYVAULT_RESOURCE_ID
  # managed_id_kind = "client_id"             # which of the three counts; object_id, resource_id
  imds_endpoint = "http://169.254.169.254"    # another one for emulators

  # tenant_id               = "contoso.onmicrosoft.com"          # AZURE_TENANT_ID; with the following three
  # client_secret           = "file:///etc/selkie/azure-secret"  # AZURE_CLIENT_SECRET
  # client_certificate_file = "/etc/selkie/azure.pem"            # chain and RSA key; or OpenBao's cert_path
  # federated_token_file    = "/var/run/secrets/azure/tokens/azure-identity-token"   # AZURE_FEDERATED_TOKEN_FILE

  wrap          = "local"                     # remote: every wrap in Key Vault's log, and none without it
  poll_interval = "5m"                        # how late a new key version may be seen; 1s to 24h

  # Public keys that may be used without Key Vault's word, by the SHA-256 of the SubjectPublicKeyInfo.
  public_key_sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
}

# A key in an HSM. lib, pin, one that names the token and one that names the key have no default.
# seal "pkcs11" {
#   name             = "hsm"                    # default: pkcs11
#   priority         = 3
#   disabled         = false
#   lib              = "/usr/lib/softhsm/libsofthsm2.so"   # VAULT_HSM_LIB
#   token_label      = "selkie"                 # VAULT_HSM_TOKEN_LABEL; or the next two
#   # slot           = "0x1f"                   # VAULT_HSM_SLOT
#   # serial         = "1ef4bee618602f1a"
#   pin              = "file:///etc/selkie/hsm-pin"        # VAULT_HSM_PIN, which holds the PIN itself
#   key_label        = "unseal"                 # VAULT_HSM_KEY_LABEL
#   key_id           = "02"                     # VAULT_HSM_KEY_ID: of the current version, in hex
#   previous_key_ids = ["01"]
#   # mechanism      = "CKM_AES_GCM"            # VAULT_HSM_MECHANISM; default: as key and token allow
#   max_parallel     = 4                        # VAULT_HSM_MAX_PARALLEL: 1 to 256
#   timeout          = "5s"                     # of one call: 1s to 60s
#   environment      = { SOFTHSM2_CONF = "/etc/softhsm2.conf" }   # all that the library sees; default: none
#   # program        = "/usr/bin/selkie-pkcs11" # default: beside selkie
#   poll_interval    = "5m"
#   # public_key_sha256 = ["..."]               # of RSA keys, as above
# }

# A transit key of another Vault, OpenBao or Selkie. address, mount_path and key_name have no default.
seal "transit" {
  name            = "hq"                      # default: transit
  priority        = 4
  disabled        = false
  address         = "https://vault.example.com:8200"     # VAULT_ADDR
  mount_path      = "transit"                 # VAULT_TRANSIT_SEAL_MOUNT_PATH
  key_name        = "bridge"                  # VAULT_TRANSIT_SEAL_KEY_NAME
  # namespace     = "team"                    # VAULT_NAMESPACE
  token           = "file:///etc/selkie/hq-token"        # VAULT_TOKEN; read again when it changes
  disable_renewal = false                     # VAULT_TRANSIT_SEAL_DISABLE_RENEWAL; true if an agent renews it
  # tls_ca_cert     = "/etc/selkie/hq-ca.pem" # VAULT_CACERT; default: the system's authorities
  # tls_client_cert = "/etc/selkie/hq.pem"    # VAULT_CLIENT_CERT; with tls_client_key
  # tls_client_key  = "/etc/selkie/hq.key"    # VAULT_CLIENT_KEY
  # tls_server_name = "vault.example.com"     # VAULT_TLS_SERVER_NAME; default: the host
  tls_skip_verify = false                     # VAULT_SKIP_VERIFY; true is refused
  # proxy         = "http://proxy:3128"       # default: HTTPS_PROXY, NO_PROXY; with password: file:// or env://
  # key_id_prefix = "transit/transit/bridge"  # default: this, of mount_path and key_name
  poll_interval   = "5m"                      # 1s to 24h
}

# Where keys made through the API are kept; once only. Without it there are declared keys alone.
storage "etcd" {
  address         = "http://127.0.0.1:2379"   # ETCD_ADDR; several with commas between them, all https or all http
  path            = "selkie/"                 # what all keys in etcd begin with
  # tls_ca_file   = "/etc/selkie/ca.pem"      # whom to trust for https; default: the system's authorities
  # tls_cert_file = "/etc/selkie/cert.pem"    # a client certificate, with tls_key_file
  # tls_key_file  = "/etc/selkie/key.pem"
  # username      = "selkie"                  # ETCD_USERNAME; with password
  # password      = "file:///etc/selkie/etcd-password"   # ETCD_PASSWORD; file:// or env://
  request_timeout = "5s"                      # 1s to 60s
  create          = true                      # false once the first start is done: an empty storage is then refused, not made anew
}
# storage "sled" {
#   path   = "/var/lib/selkie/state"          # default: "state" in data_dir
#   create = false
# }
# storage "inmem" {}                          # lost at exit

telemetry {
  metrics_address       = "127.0.0.1:9102"    # plain HTTP, metrics only, no token needed; default: none.
                                              # Under selkie.service the port needs SocketBindAllow=tcp:9102
  metrics_without_token = "loopback"          # "public" allows an address that others can reach
  # otlp_endpoint       = "https://collector:4318"   # traces, as OTLP over HTTP; default: none
  # otlp_ca_file        = "/etc/selkie/ca.pem"       # default: the system's authorities
  # otlp_headers        = ["authorization=file:///etc/selkie/otlp-token"]
  # trace_sample_ratio  = 1.0                 # from 0 to 1
}

# Without any nothing is recorded; needs audit_key, origin_key or local_key. Two of a type need a path each.
# audit "file" {
#   path                = "file"              # the name in sys/audit; default: the type
#   description         = ""
#   checkpoint_interval = "1m"                # 1s to 1h
#   file_path           = "/var/log/selkie/audit.log"
#   mode                = "0600"
#   fsync               = false
# }
# audit "syslog" {                            # also path, description, checkpoint_interval
#   facility = "AUTH"
#   tag      = "selkie"
#   address  = "/dev/log"
# }
# audit "socket" {                            # also path, description, checkpoint_interval
#   address       = "127.0.0.1:9090"          # or a path
#   socket_type   = "tcp"                     # udp, unix
#   write_timeout = "2s"
# }

# Without this stanza nothing is watched; an empty one watches with these defaults, in log and metrics.
alerts {
  learning          = "24h"                   # how long all that is new is taken for usual; "0s" to 720h
  network_prefix_v4 = 24                      # bits of an address that make its network
  network_prefix_v6 = 64

  burst {                                     # of one client, or of one key
    decrypts = 20                             # as many are still usual
    window   = "1m"
  }

  webhook {
    url        = "https://hooks.example.com/selkie"   # or env://, file:// where it is a secret
    # ca_file  = "/etc/selkie/ca.pem"         # default: the system's authorities
    # proxy    = "http://proxy:3128"          # default: HTTPS_PROXY, NO_PROXY; with password: file:// or env://
    # headers  = ["authorization=file:///etc/selkie/hook-token"]
    # hmac_key = "file:///etc/selkie/hook-key"   # 32 bytes; signs the body in X-Selkie-Signature
    timeout    = "10s"                        # 1s to 60s
  }
}

mount "transit" {
  aliases = []
}

key "autounseal" {
  mount                  = "transit"          # needed with more than one mount
  seals                  = ["static"]         # default: all enabled ones
  generation             = 0                  # or: version = 1
  quorum                 = 1                  # how many of its seals must unwrap to open; 1: any one
  min_decryption_version = 0
  min_encryption_version = 0
  exportable             = false              # nothing else is possible

  # The transit key of another server whose place this one takes (docs/migration.md). Its further fields
  # are those of seal "transit": namespace, disable_renewal, tls_..., proxy.
  # takeover {
  #   name         = "takeover.old-vault.example.com"   # of the old server in the audit log; default: of its host
  #   address      = "https://old-vault.example.com:8300"
  #   mount_path   = "transit"
  #   key_name     = "autounseal"
  #   token        = "file:///etc/selkie/old-token"
  #   last_version = 3                        # the newest of the old key; default: the old server is asked
  # }
}

client "vault-eu" {
  # Replace it: nobody has the token of this hash. `selkie client add` prints yours.
  token_sha256      = "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8"
  policies          = ["vault-eu-seal"]
  period            = "24h"                   # without it the token is not renewable
  token_bound_cidrs = ["127.0.0.0/8", "::1"]  # without it: from anywhere
  no_default_policy = false
}

# Without a token the certificate names the client; with both, both are needed. Needs tls_client_ca_file.
# client "vault-us" {
#   policies = ["vault-eu-seal"]
#   certificate {
#     spiffe_id   = "spiffe://example.org/vault/us"
#     # sha256, dns_san, uri_san, email_san, common_name: one text or a list; all fields must match
#     # ca_file, crl_file, crl_strict: beyond what the listener asks
#   }
# }

policy "vault-eu-seal" {
  # file = "/etc/selkie/vault-eu.hcl"         # instead of the rules
  path "transit/encrypt/autounseal" { capabilities = ["update"] }
  path "transit/decrypt/autounseal" { capabilities = ["update"] }
}

# Methods by which clients log in; each may have several roles. Default: none.
auth "approle" {
  path              = "approle"               # default: the method's name
  description       = ""
  default_lease_ttl = "768h"                  # default: the server's; so of the next
  max_lease_ttl     = "768h"

  role "app" {
    role_id        = "app"                    # required
    bind_secret_id = true                     # false needs token_bound_cidrs
    # secret_id_bound_cidrs = ["10.0.0.0/8"]
    # secret_id_num_uses    = 1               # default: any number
    # secret_id_ttl         = "24h"           # default: for ever

    # Of the roles of all methods:
    token_policies           = ["vault-eu-seal"]
    token_ttl                = "1h"           # default: the method's; so of the next
    token_max_ttl            = "24h"
    # token_explicit_max_ttl = "24h"          # default: none
    # token_period           = "24h"          # default: none
    # token_bound_cidrs      = ["10.0.0.0/8"]
    # token_num_uses         = 0              # any number
    token_no_default_policy  = false
    token_type               = "default"      # service, batch
  }
}
# auth "cert" {                               # needs tls_client_ca_file in a listener
#   role "web" {
#     certificate          = "..."            # PEM of the CA, or of the certificate; required
#     allowed_common_names = ["*.example.com"]
#     # display_name, allowed_names, allowed_dns_sans, allowed_email_sans, allowed_uri_sans,
#     # allowed_organizational_units, required_extensions
#   }
# }
# auth "jwt" {
#   oidc_discovery_url = "https://issuer.example.com"   # with oidc_discovery_ca_pem; or jwks_url with
#                                             # jwks_ca_pem; or jwt_validation_pubkeys
#   # jwt_supported_algs, bound_issuer, default_role
#   role "ci" {
#     user_claim      = "sub"                 # required
#     bound_audiences = ["selkie"]
#     # bound_subject, bound_claims, bound_claims_type, claim_mappings, groups_claim, user_claim_json_pointer,
#     # clock_skew_leeway, expiration_leeway, not_before_leeway
#   }
# }
# auth "kubernetes" {
#   kubernetes_host = "https://10.0.0.1:6443"
#   # kubernetes_ca_cert, token_reviewer_jwt, disable_local_ca_jwt, pem_keys, jwks_url, issuer,
#   # disable_iss_validation
#   role "app" {
#     bound_service_account_names      = ["app"]
#     bound_service_account_namespaces = ["default"]
#     # audience, alias_name_source
#   }
# }
# auth "azure" {
#   tenant_id = "7e3a0000-0000-4000-8000-000000000001"
#   resource  = "https://vault.example.com"
#   # environment, authority_host, authority_ca_pem
#   role "vm" {
#     bound_subscription_ids = ["03dc33fc-16d9-4b77-8152-3ec568f8af6e"]
#     # bound_service_principal_ids, bound_group_ids, bound_resource_groups, bound_scale_sets
#   }
# }
