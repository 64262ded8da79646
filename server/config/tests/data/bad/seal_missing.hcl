listener "tcp" {
  tls_disable = true
}
seal "static" {
  previous_key_id = "0"
}
#! 4:1: missing field "current_key_id" in seal "static"
#! 4:1: missing field "current_key" in seal "static"
#! 5:21: missing field "previous_key": "previous_key_id" and "previous_key" belong together
