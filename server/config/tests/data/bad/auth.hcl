listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
auth "approl" {}
auth "approle" {
  path = "token/x"
}
auth "approle" {
  default_lease_ttl = "0s"
  role "a" {
    role_id = "1"
    token_policies = ["root", "b c"]
    token_type = "odd"
    token_bound_cidrs = []
  }
  role "A" {
    role_id = "1"
    token_ttl = "2h"
    token_max_ttl = "1h"
  }
  role "-b" {
    role_id = ""
    bind_secret_id = false
    secret_ids = 1
  }
}
auth "approle" {}
auth "approle" {
  path = "approle/inner"
}
#! 8:6: there is no method "approl"; there are "approle", "cert", "jwt", "kubernetes" and "azure"
#! 10:10: "token" belongs to the server itself
#! 13:23: field "default_lease_ttl": must be from 1s to 315360000s
#! 16:23: field "token_policies": a login never gives the policy "root"
#! 16:31: field "token_policies": character not allowed at byte 1
#! 17:18: field "token_type": there are "default", "service" and "batch"
#! 18:25: field "token_bound_cidrs": an empty list would bind the token to nothing
#! 20:3: 'token_ttl' cannot be greater than 'token_max_ttl'
#! 20:8: role "a" is declared twice; upper and lower case are the same
#! 20:8: field "role_id": another role has this role id already
#! 25:3: without a secret id, "token_bound_cidrs" must say from where the role logs in
#! 25:8: a role's name has 1 to 256 of the characters A-Z a-z 0-9 _ - . and neither begins nor ends with - or .
#! 26:15: field "role_id": a role id has 1 to 4096 bytes
#! 28:5: unknown field "secret_ids" in role "-b"; did you mean "secret_id_ttl"?
#! 31:6: a method is mounted at "approle" already; give each a "path" of its own
#! 32:6: the mount "approle/inner" lies inside the mount "approle"
