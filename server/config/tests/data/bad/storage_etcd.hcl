storage "etcd" {
  address         = "https://a:2379, http://b:2379"
  path            = "/"
  tls_ca_file     = "ca.pem"
  tls_cert_file   = "/etc/etcd.crt"
  username        = "selkie"
  request_timeout = "0s"
  etcd_api        = "v2"
  discovery_srv   = "example.com"
  adress          = "https://a:2379"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 1:1: missing field "tls_key_file": "tls_cert_file" and "tls_key_file" belong together
#! 1:1: missing field "password": "username" and "password" belong together
#! 2:21: field "address": all members must be https:// or all http://
#! 3:21: field "path": must not be empty
#! 4:21: field "tls_ca_file": must be an absolute path
#! 7:21: field "request_timeout": must be from 1s to 60s
#! 8:21: field "etcd_api": there is "v3" alone
#! 9:3: field "discovery_srv": members are not discovered through DNS: list them in "address"
#! 10:3: unknown field "adress" in storage "etcd"; did you mean "address"?
