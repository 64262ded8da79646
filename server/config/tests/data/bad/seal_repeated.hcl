listener "tcp" {
  tls_disable = true
}
seal "static" {
  priority = 1
  current_key_id = "1"
  current_key = "file:///keys/raw"
  previous "1" {
    key = "env://KEY_HEX"
  }
}
seal "static" {
  priority = 1
  current_key_id = "1"
  current_key = "file:///keys/raw_as_hex"
}
#! 8:12: this key id is used for another key already
#! 12:6: another seal has the name or alias "static" already. Leave the name of the seal in use as it is (its default is its type), since what is encrypted names it, and give the new one another "name"
#! 12:6: another seal has the priority 1 already
#! 14:20: this key is declared already, under another id or in another seal
