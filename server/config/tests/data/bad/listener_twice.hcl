listener "tcp" {
  tls_disable = true
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 4:10: another listener has this address or socket already
