listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "azurekeyvault" {
  name    = "stolen"
  revoked = true
}
key "a" {
  seals = ["stolen"]
}
#! 13:12: seal "stolen" is revoked: it wraps nothing, and opens nothing any more
