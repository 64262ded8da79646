listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
realm = "${env.REALM}"
cluster_name = var.name
#! 8:9: field "realm": values are literal here, found a template; write "$${" or "%%{" where these characters are meant
#! 9:16: field "cluster_name": values are literal here, found an expression
