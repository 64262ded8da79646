telemetry {
  metrics_address = "127.0.0.1:8200"
}
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:21: field "metrics_address": the listener at 0.0.0.0:8200 has this port: give the metrics another
