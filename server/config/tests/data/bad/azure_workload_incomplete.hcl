listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  identity = "workload_identity"
}
#! 4:1: identity workload_identity needs "tenant_id" (or AZURE_TENANT_ID)
#! 4:1: identity workload_identity needs "client_id" (or AZURE_CLIENT_ID)
#! 4:1: identity workload_identity needs "federated_token_file" (or AZURE_FEDERATED_TOKEN_FILE)
