listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "k1"
  current_key = "file:///keys/raw"
  disabled = true
}
seal "break-glass" {
  public_key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
}
#! 1:1: nothing but "break-glass" would be encrypted for, and no server decrypts that: declare another seal beside it
