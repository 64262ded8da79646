listener "tcp" {
  tls_disable = true
}
seal "static" {
  priority       = 1
  aliases        = ["static", "gone", "one", "one", "no name"]
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "static" {
  name           = "one"
  priority       = 2
  aliases        = ["static"]
  current_key_id = "2"
  current_key    = "file:///keys/new"
}
seal "static" {
  name    = "gone"
  revoked = true
}
#! 4:6: field "aliases": "static" is the name or an alias of a seal already
#! 4:6: field "aliases": "one" is the name or an alias of a seal already
#! 4:6: field "aliases": "gone" is the name or an alias of a seal already
#! 6:53: field "aliases": a seal's name has 1 to 64 of the characters A-Z a-z 0-9 _ - .
#! 10:6: another seal has the name or alias "one" already. Leave the name of the seal in use as it is (its default is its type), since what is encrypted names it, and give the new one another "name"
#! 10:6: field "aliases": "static" is the name or an alias of a seal already
