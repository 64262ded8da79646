fault "nothing" {
  on = ["encrypt"]
}
#! 1:1: nothing goes wrong here: set "delay", "status", "sealed", "connection", "body", "plaintext" or "version"
