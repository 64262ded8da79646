# The unsealer came back from an old backup: what it encrypts is of version 1 again.
#
# ONLY WITH A VAULT THAT YOU CAN LOSE: it re-encrypts its stored keys as soon as it sees another
# version, and what is encrypted while this rule is in force never opens again.
fault "backwards" {
  on      = ["encrypt"]
  version = 1
}
