listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "k1"
  current_key = "file:///keys/raw"
}
seal "break-glass" {
  name = "one"
  priority = 7
  public_key = "MFkw"
}
seal "break-glass" {
  name = "two"
  public_key = "-----BEGIN PRIVATE KEY-----\nMFkw\n-----END PRIVATE KEY-----\n"
}
seal "break-glass" {
  name = "three"
}
seal "break-glass" {
  name = "four"
  public_key = "/no/such/file.pem"
}
#! 10:3: "priority" has no meaning in a break-glass seal: no server asks it for anything; remove it
#! 11:16: field "public_key": expected the line that "selkie break-glass keygen" prints, a PEM block that begins with "-----BEGIN PUBLIC KEY-----", or the absolute path of a file with one
#! 15:16: field "public_key": this is a private key: it must never come near a server; replace the pair
#! 17:1: missing field "public_key" in seal "break-glass"
#! 22:16: field "public_key": file "/no/such/file.pem" does not exist
