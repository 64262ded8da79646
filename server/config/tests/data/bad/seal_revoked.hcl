listener "tcp" {
  tls_disable = true
}
seal "static" {
  revoked = true
}
#! 1:1: all seals are revoked: nothing could be encrypted or decrypted
