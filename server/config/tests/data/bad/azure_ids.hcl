listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  tenant_id = "contoso"
  client_id = "selkie"
  object_id = "1"
  resource_id = "/subscriptions/x"
  managed_id_kind = "name"
  identity = "magic"
  auth_method = "x"
}
#! 7:15: field "tenant_id": expected a tenant: a UUID, or a domain such as "example.onmicrosoft.com"
#! 8:15: field "client_id": expected a UUID such as "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
#! 9:15: field "object_id": expected a UUID such as "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
#! 10:17: field "resource_id": expected "/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"
#! 11:21: field "managed_id_kind": there are "client_id", "object_id" and "resource_id"
#! 12:14: field "identity": there are "auto", "managed_identity", "app_service", "workload_identity", "client_secret" and "client_certificate"
#! 13:17: fields "identity" and "auth_method" mean the same: remove one
