storage "sled" {
  path = "state"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:10: field "path": must be an absolute path
