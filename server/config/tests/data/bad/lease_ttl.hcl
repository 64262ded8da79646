max_lease_ttl     = "24h"
default_lease_ttl = "48h"
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:21: field "default_lease_ttl": must not be longer than "max_lease_ttl", which is 86400s
