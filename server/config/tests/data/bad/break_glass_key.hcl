listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "k1"
  current_key = "file:///keys/raw"
}
seal "break-glass" {
  public_key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
}
key "a" {
  seals = ["break-glass"]
}
#! 12:11: field "seals": a break-glass seal alone will not do: no server decrypts for it
