realm = "a"
realm = "b"
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:1: field "realm" is set twice
