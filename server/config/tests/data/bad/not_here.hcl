ui = true
audit "file" {
  path = "/x"
}
telemetry {}
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
#! 2:1: "audit" is not built yet: remove it
#! 5:1: "telemetry" is not built yet: remove it
#! 6:1: "cluster_addr" is not used by Selkie: remove it
#! 7:9: storage type "raft" is not in this build: there is "inmem"
