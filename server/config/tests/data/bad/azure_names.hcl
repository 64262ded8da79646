listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "a_b"
  key_name = "keys/selkie"
}
seal "azurekeyvault" {
  name = "b"
  vault_name = "ab"
  key_name = ""
}
#! 4:1: with more than one seal each needs a "priority" of its own, the lowest is asked first
#! 5:16: field "vault_name": a vault's name has 3 to 24 of the characters 0-9 A-Z a-z -
#! 6:14: field "key_name": a key's name has no "/": the versions are found by themselves, and the vault is named by "vault_name"
#! 8:1: with more than one seal each needs a "priority" of its own, the lowest is asked first
#! 10:16: field "vault_name": a vault's name has 3 to 24 of the characters 0-9 A-Z a-z -
#! 11:14: field "key_name": a key's name has 1 to 127 of the characters 0-9 A-Z a-z -
