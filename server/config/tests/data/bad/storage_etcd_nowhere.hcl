storage "etcd" {}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:1: missing field "data_dir" (outside of this stanza), which "etcd" needs: there alone is kept what shows that the cluster was emptied or put back, so that no new store is made in place of a lost one
