listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_certificate_file = "/keys/client.pem"
}
#$ AZURE_CLIENT_SECRET=s3cret
#! 4:1: environment variable AZURE_CLIENT_SECRET and field "client_certificate_file" name two identities: remove one of them
