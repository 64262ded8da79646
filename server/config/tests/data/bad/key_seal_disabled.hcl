listener "tcp" {
  tls_disable = true
}
seal "static" {
  priority = 1
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "static" {
  name = "old"
  priority = 2
  disabled = true
  current_key_id = "1"
  current_key = "file:///keys/new"
}
key "a" {
  seals = ["old"]
}
#! 17:12: seal "old" is disabled: it wraps nothing
