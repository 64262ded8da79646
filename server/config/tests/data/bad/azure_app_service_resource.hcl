listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  identity = "app_service"
  resource_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
}
#$ IDENTITY_ENDPOINT=http://localhost:4141/token
#$ IDENTITY_HEADER=h
#! 4:1: App Service takes no resource id: name the identity by "client_id" or "object_id"
