listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "static" {
  name = "b"
  current_key_id = "1"
  current_key    = "file:///keys/new"
}
seal "static" {
  name = "c d"
  priority = 0
  current_key_id = "1"
  current_key = "file:///keys/retired"
}
#! 4:1: with more than one seal each needs a "priority" of its own, the lowest is asked first
#! 8:1: with more than one seal each needs a "priority" of its own, the lowest is asked first
#! 14:10: field "name": a seal's name has 1 to 64 of the characters A-Z a-z 0-9 _ - .
#! 15:14: field "priority": must be from 1 to 4294967295
