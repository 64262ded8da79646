//! Declared login methods with their configuration and roles.

mod sources;

use selkie_config::{
    AzureEnvironment, BoundClaimsType, Config, DeclaredMethod, JWT_ALGORITHMS, ServiceAccountAlias,
};

use crate::sources::TestSources;

const FILE: &str = r#"
realm = "test"
listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}
seal "static" {
  current_key_id = "k1"
  current_key    = "env://KEY_HEX"
}
auth "jwt" {
  path               = "ci/github"
  oidc_discovery_url = "https://token.actions.githubusercontent.com"
  default_role       = "Deploy"
  role "Deploy" {
    bound_audiences   = "https://selkie.example"
    bound_claims      = { repository = ["acme/infra", "acme/apps"], "/nested/env" = "prod" }
    bound_claims_type = "glob"
    claim_mappings    = { repository = "repo" }
    user_claim        = "sub"
    clock_skew_leeway = "30s"
    token_ttl         = "10m"
  }
}
auth "kubernetes" {
  kubernetes_host    = "https://10.0.0.1"
  token_reviewer_jwt = "file:///keys/secret"
  role "unsealer" {
    bound_service_account_names      = "unsealer"
    bound_service_account_namespaces = ["vault-*"]
    audience                         = "selkie"
    alias_name_source                = "serviceaccount_name"
  }
}
auth "azure" {
  tenant_id   = "7e3a0000-0000-4000-8000-000000000001"
  resource    = "https://selkie.example"
  environment = "AzureUSGovernmentCloud"
  role "vm" {
    bound_resource_groups = ["prod"]
  }
}
"#;

#[test]
fn login_methods_read_as_written() {
    let config =
        Config::parse("logins.hcl", FILE, &TestSources).map_err(|p| p.to_string()).unwrap();
    let [jwt, kubernetes, azure] = config.auth.as_slice() else { panic!("{:?}", config.auth) };
    assert_eq!(jwt.path.as_str(), "ci/github");
    let DeclaredMethod::Jwt(settings, roles) = &jwt.method else { panic!("{jwt:?}") };
    assert_eq!(settings.default_role, "deploy");
    let role = &roles[0];
    assert_eq!((role.name.as_str(), role.role.clock_skew_leeway), ("deploy", 30));
    assert_eq!(role.role.bound_claims_type, BoundClaimsType::Glob);
    assert_eq!(role.role.bound_claims["repository"], ["acme/infra", "acme/apps"]);
    assert_eq!(role.role.bound_claims["/nested/env"], ["prod"]);
    assert_eq!(role.role.claim_mappings["repository"], "repo");
    assert_eq!(role.token.ttl.as_secs(), 600);
    let DeclaredMethod::Kubernetes(settings, roles) = &kubernetes.method else { panic!() };
    assert!(settings.token_reviewer_jwt.is_some());
    assert!(settings.disable_iss_validation);
    assert_eq!(roles[0].role.bound_service_account_namespaces, ["vault-*"]);
    assert_eq!(roles[0].role.alias_name_source, ServiceAccountAlias::ServiceaccountName);
    let DeclaredMethod::Azure(settings, roles) = &azure.method else { panic!() };
    assert_eq!(settings.environment, AzureEnvironment::AzureUSGovernmentCloud);
    assert_eq!(
        settings.authority(),
        "https://login.microsoftonline.us/7e3a0000-0000-4000-8000-000000000001"
    );
    assert_eq!(roles[0].role.bound_resource_groups, ["prod"]);
}

#[test]
fn a_reviewer_token_is_never_shown() {
    let config =
        Config::parse("logins.hcl", FILE, &TestSources).map_err(|p| p.to_string()).unwrap();
    let shown = format!("{:?}", config.auth);
    assert!(shown.contains("ReviewerToken"));
    let DeclaredMethod::Kubernetes(settings, _) = &config.auth[1].method else { panic!() };
    let token = settings.token_reviewer_jwt.as_ref().unwrap().expose();
    assert!(token.len() > 3 && !shown.contains(token), "{shown}");
}

#[test]
fn no_algorithm_of_a_shared_secret_is_known() {
    assert!(JWT_ALGORITHMS.iter().all(|name| !name.starts_with("HS") && *name != "none"));
}

/// What is wrong with a file whose `cert` method has this role, and whose listener asks for nothing.
fn problems_of(role: &str) -> Option<String> {
    let file = format!("{FILE}auth \"cert\" {{\n  role \"Web\" {{\n{role}  }}\n}}\n");
    Config::parse("logins.hcl", &file, &TestSources).err().map(|all| all.to_string())
}

fn pem() -> Result<String, rcgen::Error> {
    Ok(rcgen::generate_simple_self_signed(vec!["ca".to_owned()])?.cert.pem())
}

#[test]
fn a_role_for_certificates_reads_as_written() {
    let pem = pem().unwrap();
    let role = format!("certificate = <<EOT\n{pem}EOT\nallowed_dns_sans = [\"*.vault\"]\n");
    let file = FILE.replace(
        "tls_disable = true",
        "tls_cert_file = \"/a\"\n  tls_key_file = \"/b\"\n  tls_client_ca_file = \"/ca\"",
    );
    let file = format!("{file}auth \"cert\" {{\n  role \"Web\" {{\n{role}  }}\n}}\n");
    let config = Config::parse("logins.hcl", &file, &TestSources);
    let config = config.map_err(|problems| problems.to_string()).unwrap();
    let DeclaredMethod::Cert(roles) = &config.auth.last().unwrap().method else { panic!() };
    assert_eq!(roles[0].name, "web");
    assert_eq!(roles[0].role.certificate.trim(), pem.trim());
    assert_eq!(roles[0].role.allowed_dns_sans, ["*.vault"]);
}

#[test]
fn a_role_that_takes_no_certificate_or_that_none_is_shown_to_is_refused() {
    let problems = problems_of("certificate = \"x\"\n").unwrap();
    assert!(problems.contains("failed to parse certificate"), "{problems}");
    assert!(problems.contains("no listener asks clients for certificates"), "{problems}");
    let role = format!("certificate = <<EOT\n{}EOT\nrequired_extensions = \"x\"\n", pem().unwrap());
    let problems = problems_of(&role).unwrap();
    assert!(problems.contains("neither OID:VALUE nor hex:OID:VALUE"), "{problems}");
}

#[test]
fn revocations_can_be_missed_in_a_shared_store_alone() {
    let read = |more: &str| {
        let file = format!("{FILE}{more}");
        let config = Config::parse("logins.hcl", &file, &TestSources);
        config.map(|config| config.leases).map_err(|problems| problems.to_string())
    };
    let etcd = "data_dir = \"/var/lib/selkie\"\nstorage \"etcd\" {}\n";
    let hour = Some(std::time::Duration::from_secs(3600));
    let usual = read(etcd).unwrap();
    assert_eq!((usual.max_staleness, usual.max_periodic_staleness), (hour, None));
    let set = read(&format!("{etcd}max_staleness = 0\nmax_periodic_staleness = \"1h\"\n")).unwrap();
    assert_eq!((set.max_staleness, set.max_periodic_staleness), (None, hour));
    assert_eq!(read("storage \"inmem\" {}\n").unwrap().max_staleness, None);
    let problems = read(&format!("{etcd}max_staleness = \"5s\"\n")).unwrap_err();
    assert!(problems.contains("must be 0, which is for ever, or from 60s"), "{problems}");
}

#[test]
fn a_role_with_more_policies_than_a_token_may_have_is_refused_by_its_name() {
    let problems = |bytes: usize, more: &str| {
        // Each is told with quotes and a comma.
        let names = (0..40).map(|number| format!("\"a{number:096}\""));
        let last = format!("\"{}\"", "z".repeat(bytes - 4_000 - 3));
        let names: Vec<_> = names.chain([last]).collect();
        let policies = format!("token_policies = [{}]\n{more}", names.join(", "));
        let file = FILE.replace("token_ttl         = \"10m\"\n", &policies);
        Config::parse("logins.hcl", &file, &TestSources).err().map(|all| all.to_string())
    };
    // With "default", which is told as well.
    assert_eq!(problems(4_086, ""), None);
    let no_default = "token_no_default_policy = true\n";
    assert_eq!(problems(4_096, no_default), None);
    let text = "logins.hcl:15:3: role \"Deploy\": field \"token_policies\": no login can have so many \
                policies: at most 4096 bytes of names in all";
    assert_eq!(problems(4_087, "").as_deref(), Some(text));
    assert_eq!(problems(4_097, no_default).as_deref(), Some(text));
}
