telemetry {
  metrics_without_token = "public"
  otlp_headers          = "a=env://KEY_HEX"
  trace_sample_ratio    = "all"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:27: "metrics_without_token" needs "metrics_address"
#! 3:27: "otlp_headers" needs "otlp_endpoint"
#! 4:27: field "trace_sample_ratio": expected a number, found a string
#! 4:27: "trace_sample_ratio" needs "otlp_endpoint"
