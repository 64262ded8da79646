storage "etcd" {
  address = "https://etcd-1"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 2:13: field "address": "https://etcd-1" names no port, which is 2379 for most
