listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  wrap = "both"
  poll_interval = "0s"
  public_key_sha256 = ["SHA256:x", "12"]
  imds_endpoint = "https://127.0.0.1"
  cert_password = "x"
}
#! 7:10: field "wrap": there are "local" and "remote"
#! 8:19: field "poll_interval": must be from 1s to 86400s
#! 9:24: field "public_key_sha256": expected the SHA-256 of the public key (SubjectPublicKeyInfo in DER) as 64 characters of hex or 44 of base64
#! 9:36: field "public_key_sha256": expected the SHA-256 of the public key (SubjectPublicKeyInfo in DER) as 64 characters of hex or 44 of base64
#! 10:19: field "imds_endpoint": must begin with "http://"
#! 11:3: a certificate is read from "client_certificate_file", in PEM and without password: openssl pkcs12 -in X.pfx -out X.pem -nodes
