storage "sled" {}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: missing field "path": it may be left out only where "data_dir" is set
