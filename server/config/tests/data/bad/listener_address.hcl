listener "tcp" {
  tls_disable = true
  address = "localhost:8200"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 3:13: field "address": expected IP:PORT such as "127.0.0.1:8200" or "[::]:8200"
