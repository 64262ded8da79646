listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "a"
  priority = 1
  vault_name = "kv10"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/no-key.pem"
}
seal "azurekeyvault" {
  name = "b"
  priority = 2
  vault_name = "kv11"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/ec.pem"
}
seal "azurekeyvault" {
  name = "c"
  priority = 3
  vault_name = "kv12"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/gone.pem"
}
seal "azurekeyvault" {
  name = "d"
  priority = 4
  vault_name = "kv13"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/encrypted.pem"
}
seal "azurekeyvault" {
  name = "e"
  priority = 5
  vault_name = "kv14"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/client.pem"
  ca_file = "/etc/selkie/shared.hcl"
}
seal "azurekeyvault" {
  name = "f"
  priority = 6
  vault_name = "kv15"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/client.pem"
  cert_path = "/keys/client.pem"
}
#! 11:29: field "client_certificate_file": file "/keys/no-key.pem" holds no private key in PEM beside the certificate
#! 20:29: field "client_certificate_file": file "/keys/ec.pem": Entra takes certificates with RSA keys only
#! 29:29: field "client_certificate_file": file "/gone.pem" does not exist
#! 38:29: field "client_certificate_file": file "/keys/encrypted.pem": the private key is encrypted: openssl pkey -in OLD -out NEW removes it
#! 48:13: field "ca_file": file "/etc/selkie/shared.hcl" holds no certificate in PEM
#! 58:15: fields "client_certificate_file" and "cert_path" mean the same: remove one
