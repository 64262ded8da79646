telemetry {
  metrics_address    = "10.0.0.1:9102"
  otlp_endpoint      = "http://127.0.0.1:4318"
  otlp_ca_file       = "ca.pem"
  otlp_headers       = ["authorization=Bearer x", "authorization"]
  trace_sample_ratio = 1.5
  statsd_address     = "127.0.0.1:8125"
}
telemetry {
  metrics_address       = "localhost:9102"
  metrics_without_token = "yes"
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:24: field "metrics_address": others can reach this address, and metrics name clients and keys: listen at 127.0.0.1, or say metrics_without_token = "public"
#! 4:24: "otlp_ca_file" belongs to TLS, and "otlp_endpoint" begins with http://
#! 4:24: field "otlp_ca_file": must be an absolute path
#! 5:25: field "otlp_headers": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
#! 5:51: field "otlp_headers": expected "NAME=env://VARIABLE" or "NAME=file:///path"
#! 6:24: field "trace_sample_ratio": must be from 0 to 1
#! 7:3: "statsd_address": metrics go to nobody by themselves: let Prometheus ask for them
#! 9:1: telemetry may stand once only
#! 10:27: field "metrics_address": expected IP:PORT such as "127.0.0.1:9102"
#! 11:27: field "metrics_without_token": there are "loopback" and "public"
