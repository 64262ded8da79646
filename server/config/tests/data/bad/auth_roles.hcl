realm = "x"
auth "jwt" {
  jwks_url           = "http://id.example/keys"
  jwt_supported_algs = ["RS256"]
}
auth "jwt" {
  path               = "both"
  jwks_url           = "https://id.example/keys"
  oidc_discovery_url = "https://id.example"
}
auth "jwt" {
  path               = "ci"
  oidc_discovery_url = "https://id.example"
  jwt_supported_algs = ["RS256", "none"]
  role "a" {
    user_claim   = "sub"
    bound_claims = { sub = 1, "x" = ["y", 2], (z) = "z" }
  }
  role "b" {
    bound_audiences = "selkie"
  }
  role "c" {
    user_claim = "sub"
  }
  role "C" {
    user_claim      = "sub"
    bound_audiences = ["selkie"]
    claim_mappings  = { a = "role" }
  }
  role "d" {
    role_type       = "oidc"
    user_claim      = "sub"
    bound_audiences = ["selkie"]
  }
  role "e" {
    user_claim        = "sub"
    bound_audience    = ["selkie"]
    bound_claims_type = "regex"
    token_policies    = ["root"]
  }
}
auth "kubernetes" {
  token_reviewer_jwt = "eyJ"
  role "a" {
    bound_service_account_names      = ["*"]
    bound_service_account_namespaces = ["*"]
  }
  role "b" {
    bound_service_account_names      = ["a"]
    bound_service_account_namespaces = ["b"]
    alias_name_source                = "name"
  }
}
auth "kubernetes" {
  path     = "k"
  pem_keys = ["x"]
}
auth "azure" {
  tenant_id = "contoso"
  role "a" {
    bound_locations = ["westeurope"]
  }
  role "b" {}
}
auth "azure" {
  path        = "az"
  tenant_id   = "7e3a0000-0000-4000-8000-000000000001"
  environment = "AzureGermanCloud"
}
auth "ldap" {}
#! 1:1: no listener is declared: write listener "tcp" { ... }
#! 1:1: no seal is declared: write seal "azurekeyvault" { ... }
#! 2:1: 'jwks_url' must be an https URL
#! 6:1: exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set
#! 11:1: invalid jwt_supported_algs: unsupported signing algorithm "none"
#! 15:3: must have at least one bound constraint when creating/updating a role
#! 17:28: field "bound_claims": expected a string or a list of strings, found a number
#! 17:43: field "bound_claims": expected strings in the list, found a number
#! 17:47: field "bound_claims": values are literal here, found an expression
#! 19:3: a user claim must be defined on the role
#! 22:3: must have at least one bound constraint when creating/updating a role
#! 25:3: metadata key "role" is reserved and may not be a mapping destination
#! 25:8: role "c" is declared twice; upper and lower case are the same
#! 30:3: role_type "oidc" logs a person in by a browser, which Selkie does not do: use role_type "jwt" with a token of the provider, or a person's token of another method
#! 35:3: invalid 'bound_claims_type': regex
#! 37:5: unknown field "bound_audience" in role "e"; did you mean "bound_audiences"?
#! 39:26: field "token_policies": a login never gives the policy "root"
#! 42:1: no host provided: set 'kubernetes_host', or 'pem_keys' or 'jwks_url' to verify tokens without the API server
#! 43:24: field "token_reviewer_jwt": a secret never stands in this file: write "env://NAME" for an environment variable or "file:///path" for a file
#! 44:3: service account names and namespaces can not both be "*"
#! 48:3: invalid 'alias_name_source': there are "serviceaccount_uid" and "serviceaccount_name"
#! 54:1: without 'kubernetes_host' the 'issuer' of the cluster's tokens must be set: its keys alone do not say which cluster a token is of
#! 58:1: 'tenant_id' must be the tenant's id, a UUID
#! 60:3: 'bound_locations' cannot be verified: no token says where a machine is, and Selkie does not ask Azure Resource Manager; bind 'bound_resource_groups' instead
#! 63:3: must have at least one bound constraint when creating/updating a role
#! 65:1: invalid 'environment': there are "AzurePublicCloud", "AzureUSGovernmentCloud" and "AzureChinaCloud"
#! 70:6: there is no method "ldap"; there are "approle", "cert", "jwt", "kubernetes" and "azure"
