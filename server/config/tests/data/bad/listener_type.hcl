listener "unix" {
  address = "/run/x"
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:10: listener type "unix" does not exist here: there is "tcp"
