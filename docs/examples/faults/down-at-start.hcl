# The unsealer is not there for the first 15 seconds after it was started (or got SIGHUP), as after a
# power cut, when Vault boots faster: connections are taken and closed without an answer.
fault "down" {
  connection = "close"
  until      = "15s"
}
