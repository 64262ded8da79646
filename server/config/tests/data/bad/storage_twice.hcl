storage "inmem" {}
storage "inmem" {}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:9: storage may stand once only
