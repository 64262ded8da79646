seed = -1
fault "nothing" {
}
fault "Two Outcomes" {
  status     = 503
  connection = "close"
}
fault "unknown" {
  on         = ["encrypt", "sign"]
  status     = 418
  conection  = "close"
}
fault "words" {
  on         = []
  connection = "reset"
}
fault "bodies" {
  body = "half"
}
fault "secret" {
  plaintext = "wrong"
}
fault "number" {
  on      = ["encrypt"]
  version = 0
}
fault "text" {
  error = "no"
  delay = "25h"
  key   = "a/b"
}
fault "text" {
  status = 503
}
seal_fault "seal" {
  seal   = "a b"
  answer = "gone"
  on     = ["encrypt"]
}
listener "tcp" {
}
#! 1:8: field "seed": expected a whole number, found a negative number
#! 4:7: a fault's name has 1 to 64 of the characters a-z 0-9 - _
#! 6:16: "status" and "connection" exclude each other
#! 9:28: field "on": there are "encrypt", "decrypt", "rewrap", "renew-self", "lookup-self", "health" and "any"
#! 10:16: field "status": there are 400 403 404 412 429 500 501 502 503 504
#! 11:3: unknown field "conection" in fault "unknown"; did you mean "connection"?
#! 14:16: field "on": must not be empty
#! 15:16: field "connection": there are "close" and "hang"
#! 18:10: field "body": there are "truncated", "garbage" and "empty"
#! 21:15: "plaintext" needs "decrypt" alone in "on"
#! 25:13: field "version": counted from 1
#! 28:11: "error" needs "status"
#! 29:11: field "delay": must be at most 86400 seconds
#! 30:11: field "key": not the name of a key
#! 32:7: fault "text" is declared twice
#! 36:12: field "seal": not the name of a seal
#! 37:12: field "answer": there are "away", "throttled", "denied", "hang" and "wrong"
#! 38:13: field "on": there are "describe", "wrap", "unwrap" and "any"
#! 40:1: unknown block "listener"
