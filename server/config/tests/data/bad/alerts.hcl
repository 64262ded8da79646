alerts {
  learning          = "721h"
  network_prefix_v4 = 33
  network_prefix_v6 = 0
  webhok {}
  burst {
    decrypts = 0
    window   = "25h"
    key      = 5
  }
  webhook {
    url      = "http://127.0.0.1:9/hook"
    ca_file  = "ca.pem"
    proxy    = "http://proxy:3128"
    headers  = ["authorization"]
    hmac_key = "s3cret"
    timeout  = "61s"
  }
  webhook {
    url = "ftp://hooks.example.com/"
  }
}
alerts {
  webhook {}
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 2:23: field "learning": must be at most 720h ("0s": nothing is learned silently)
#! 3:23: field "network_prefix_v4": must be from 1 to 32
#! 4:23: field "network_prefix_v6": must be from 1 to 128
#! 5:3: unknown block "webhok" in alerts; did you mean "webhook"?
#! 7:16: field "decrypts": must be from 1 to 1000000000
#! 8:16: field "window": must be from 1s to 86400s
#! 9:5: unknown field "key" in burst
#! 13:16: "ca_file" belongs to TLS, and "url" begins with http://
#! 13:16: field "ca_file": must be an absolute path
#! 14:16: "proxy" belongs to TLS, and "url" begins with http://
#! 15:17: field "headers": expected "NAME=env://VARIABLE" or "NAME=file:///path"
#! 16:16: field "hmac_key": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
#! 17:16: field "timeout": must be from 1s to 60s
#! 19:3: block "webhook" may stand once only
#! 23:1: block "alerts" may stand once only
