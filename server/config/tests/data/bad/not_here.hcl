ui = true
cluster_addr = "https://x:8201"
storage "raft" {
  path = "/x"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: "ui" is not used by Selkie: remove it
#! 2:1: "cluster_addr" is not used by Selkie: remove it
#! 3:9: storage type "raft" does not exist here: there are "etcd", "inmem" and "sled"
