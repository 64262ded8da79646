storage "etcd" {
  address = "etcd-1:2379"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 2:13: field "address": expected URLs such as "https://etcd-1:2379", separated by commas
