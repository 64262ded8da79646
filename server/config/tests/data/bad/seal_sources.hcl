listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key = "env://UNSET"
  previous_key_id = "0"
  previous_key = "file:///keys/short"
  previous "a" {
    key = "file:///gone"
  }
  previous "b" {
    key = "file://keys/raw"
  }
  previous "c" {}
  previous "d d" {
    key = "env://KEY_HEX"
  }
}
key "k" {
  seals = ["static"]
}
#! 6:17: field "current_key": environment variable "UNSET" is not set
#! 8:18: field "previous_key": no 32-byte key there: it must be 32 raw bytes, or their base64 (44 characters) or hex (64 characters)
#! 10:11: field "key": file "/gone" does not exist
#! 13:11: field "key": the path after "file://" must be absolute
#! 15:3: missing field "key" in previous "c"
#! 16:12: "previous": a key id has 1 to 512 visible ASCII characters without quote and backslash
