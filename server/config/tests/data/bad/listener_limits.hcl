listener "tcp" {
  tls_disable = true
  max_request_size = 0
  max_connections = 1000001
  http_idle_timeout = 0
  http_read_timeout = "2000h"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 3:22: field "max_request_size": must be from 1 to 1073741824
#! 4:21: field "max_connections": must be from 1 to 1000000
#! 5:23: field "http_idle_timeout": must be from 1s to 86400s
#! 6:23: field "http_read_timeout": must be from 1s to 86400s
