# The token of the Vault's seal stanza is no longer good, as after weeks in which nobody renewed it.
fault "expired" {
  on     = ["encrypt", "decrypt", "renew-self", "lookup-self"]
  status = 403
}
