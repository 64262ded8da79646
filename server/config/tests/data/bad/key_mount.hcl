listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
mount "a" {}
mount "b" {}
key "x" {}
#! 10:1: with more than one mount each key says which it is in: missing field "mount"
