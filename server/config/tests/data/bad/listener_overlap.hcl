listener "tcp" {
  address     = "127.0.0.1:8205"
  tls_disable = true
}
listener "tcp" {
  address     = "[::]:8205"
  tls_disable = true
}
listener "tcp" {
  address     = "0.0.0.0:8205"
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 9:10: the listener at 127.0.0.1:8205 has this port too, and one of the two takes it on all addresses: leave one out, or give it another port
