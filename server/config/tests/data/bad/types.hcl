seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
listener "tcp" {
  address = 8200
  tls_disable = "true"
  max_connections = "5"
}
#! 6:13: field "address": expected a string, found a number
#! 7:17: field "tls_disable": expected true or false, found a string
#! 8:21: field "max_connections": expected a whole number, found a string
