listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
mount "sys/x" {}
mount "/a" {}
mount "a" {
  aliases = ["b", "b", "c//d"]
}
mount "a-b" {}
mount "a/b" {}
mount "a/b" {}
#! 8:7: mount "sys/x": "sys" belongs to the server itself
#! 9:7: mount "/a": a mount path does not begin with a slash
#! 11:19: "b" is a mount or an alias already
#! 11:24: mount "c//d": empty name
#! 14:7: mount "a/b" lies inside the mount "a"
#! 15:7: "a/b" is a mount or an alias already
#! 15:7: mount "a/b" lies inside the mount "a"
