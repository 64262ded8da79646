storage "etcd" {
  tls_ca_file = "/etc/ca.pem"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 2:17: "tls_ca_file" belongs to TLS, and the address begins with http://
