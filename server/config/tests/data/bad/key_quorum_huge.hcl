listener "tcp" {
  tls_disable = true
}
seal "static" {
  priority = 1
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "static" {
  name = "b"
  priority = 2
  current_key_id = "1"
  current_key = "file:///keys/new"
}
mount "transit" {}
key "a" {
  quorum = 300
}
#! 17:12: field "quorum": 300 of 2 seals can never be met; it must be from 1 to 2
