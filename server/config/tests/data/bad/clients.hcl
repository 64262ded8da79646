listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
client "a" {
  token_sha256 = "abc"
  policies = ["nobody"]
  period = "0s"
  token_bound_cidrs = []
}
client "b" {}
client "c d" {
  token_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  policies = []
}
client "e" {
  token_sha256 = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
  policies = []
}
client "f" {
  token_sha256 = "60303AE22B998861BCE3B28F33EEC1BE758A213C86C93C076DBE9F558C11C752"
  policies = []
}
client "f" {}
#! 9:18: field "token_sha256": expected 64 hexadecimal digits, the output of: printf %s TOKEN | sha256sum
#! 10:15: policy "nobody" is not declared
#! 11:12: field "period": must be from 1s to 315360000s
#! 12:23: field "token_bound_cidrs": an empty list would bind the token to nothing
#! 14:1: client "b" needs "token_sha256", a "certificate" block, or both
#! 14:1: missing field "policies" in client "b"
#! 15:8: a client's name has 1 to 128 of the characters A-Z a-z 0-9 _ - . / @
#! 23:8: another client has this token already
#! 27:8: client "f" is declared twice
