listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
key "-x" {}
key "a" {
  mount = "other"
  seals = ["static", "static", "hsm"]
}
key "b" {
  generation = 429496
  min_decryption_version = 3
  min_encryption_version = 2
  exportable = true
}
key "c" {
  generation = 1
  version = 0
}
key "d" {
  generation = 1
  version = 2
  seals = []
}
key "e" {}
key "e" {}
#! 8:5: key "-x": character not allowed at byte 0
#! 10:11: mount "other" is not declared
#! 11:22: seal "static" is listed twice
#! 11:32: seal "hsm" is not declared
#! 14:16: field "generation": must be from 0 to 429495
#! 16:28: field "min_encryption_version": is below "min_decryption_version"
#! 17:16: exportable keys do not exist here: the master keys never leave their seals
#! 21:13: field "version": must be from 1 to 4294967295
#! 25:13: fields "generation" and "version" exclude each other
#! 26:11: field "seals": at least one seal is needed
#! 29:5: key "e" is declared twice in the mount "transit"
