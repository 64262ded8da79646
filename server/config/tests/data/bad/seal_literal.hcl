listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
}
#! 6:20: field "current_key": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
