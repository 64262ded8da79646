storage "etcd" {
  username = "selkie"
  password = "hunter2"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
data_dir = "/srv"
#! 3:14: field "password": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
