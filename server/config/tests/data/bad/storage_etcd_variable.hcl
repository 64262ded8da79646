#$ ETCD_ADDR=ftp://etcd
#$ ETCD_PASSWORD=hunter2
storage "etcd" {
  address = "https://a:2379"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 3:1: environment variable ETCD_ADDR: expected URLs such as "https://etcd-1:2379", separated by commas
#! 3:1: missing field "username": "username" and "password" belong together
