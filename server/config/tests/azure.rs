//! `seal "azurekeyvault"`: what is read from the stanza and what from the environment.

#![expect(clippy::expect_used, clippy::panic, reason = "its helpers are parts of tests")]

mod sources;
mod variables;

use std::fs;
use std::path::Path;
use std::time::Duration;

use selkie_config::{
    AzureIdentity, AzureKeyVaultSeal, Config, IdentityReason, Origin, Problems, SealKind,
    SourceError, Sources, UserAssignedIdentity, WarningKind, WrapPlace,
};

use url::Url;
use zeroize::Zeroizing;

use crate::sources::TestSources;
use crate::variables::WithVariables;

const TENANT: &str = "46646709-b63e-4747-be42-516edeaf1e14";
const CLIENT: &str = "03dc33fc-16d9-4b77-8152-3ec568f8af6e";
const RESOURCE_ID: &str = "/subscriptions/s/resourceGroups/g/providers/\
                           Microsoft.ManagedIdentity/userAssignedIdentities/selkie";

/// A vault and a key, from the environment.
const PLACE: [(&str, &str); 2] =
    [("VAULT_AZUREKEYVAULT_VAULT_NAME", "kv1"), ("VAULT_AZUREKEYVAULT_KEY_NAME", "selkie")];

/// The same, as fields.
const VAULT: &str = "vault_name = \"kv1\"\nkey_name = \"selkie\"\n";

fn parse(fields: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let text = format!(
        "listener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"azurekeyvault\" {{\n{fields}\n}}\n"
    );
    Config::parse("x", &text, &WithVariables(variables.to_vec()))
}

/// The seal, and the warnings but for those about pins.
fn read(fields: &str, variables: &[(&str, &str)]) -> (AzureKeyVaultSeal, Vec<WarningKind>) {
    let config = parse(fields, variables).expect("is sound");
    let is_of_pins = |kind: &WarningKind| *kind == WarningKind::PinsForgotten;
    let warnings = config.warnings.into_iter().map(|warning| warning.kind);
    let warnings = warnings.filter(|kind| !is_of_pins(kind)).collect();
    let seal = config.seals.into_iter().next().expect("a seal");
    match seal.kind {
        SealKind::AzureKeyVault(seal) => (*seal, warnings),
        other => panic!("{other:?}"),
    }
}

fn seal(fields: &str, variables: &[(&str, &str)]) -> AzureKeyVaultSeal {
    read(fields, variables).0
}

fn told(fields: &str, variables: &[(&str, &str)]) -> String {
    parse(fields, variables).expect_err("is refused").to_string()
}

fn with<'v>(variables: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
    [PLACE.as_slice(), variables].concat()
}

#[test]
fn an_empty_stanza_takes_everything_from_the_environment() {
    let config = parse("", &PLACE).expect("is sound");
    let only = config.seals.first().expect("a seal");
    assert_eq!((only.name.as_str(), only.priority, only.disabled), ("azurekeyvault", 1, false));
    let seal = seal("", &PLACE);
    assert_eq!(seal.endpoint.as_str(), "https://kv1.vault.azure.net/");
    assert_eq!((seal.resource.as_str(), seal.key_name.as_str()), ("vault.azure.net", "selkie"));
    assert_eq!(seal.authority.as_str(), "https://login.microsoftonline.com/");
    assert_eq!((seal.wrap, seal.poll_interval), (WrapPlace::Local, Duration::from_secs(300)));
    assert!(seal.public_keys.is_empty() && seal.ca_certificates.is_none());
    assert!(seal.key_vault_proxy.is_none() && seal.entra_proxy.is_none());
    let AzureIdentity::ManagedIdentity { user_assigned: None, endpoint } = seal.identity else {
        panic!("{:?}", seal.identity);
    };
    assert_eq!(endpoint.as_str(), "http://169.254.169.254/");
    assert_eq!(seal.identity_reason, IdentityReason::NothingElse);
}

#[test]
fn the_environment_wins_over_the_file_and_that_is_told() {
    let fields = "vault_name = \"other\"\nkey_name = \"selkie\"";
    let (seal, warnings) = read(fields, &PLACE);
    assert_eq!(seal.endpoint.host_str(), Some("kv1.vault.azure.net"));
    let (variable, field) = ("VAULT_AZUREKEYVAULT_VAULT_NAME", "vault_name");
    assert_eq!(warnings, [WarningKind::VariableWins { variable, field }], "the key is the same");
}

#[test]
fn the_wrapper_s_variable_comes_before_vault_s_and_an_empty_one_is_none() {
    let wrapper = ("AZUREKEYVAULT_WRAPPER_VAULT_NAME", "kv2");
    let seal_of_wrapper = seal("", &with(&[wrapper, ("AZUREKEYVAULT_WRAPPER_KEY_NAME", "k2")]));
    assert_eq!(seal_of_wrapper.endpoint.host_str(), Some("kv2.vault.azure.net"));
    assert_eq!(seal_of_wrapper.key_name, "k2");
    let seal = seal("", &with(&[("AZUREKEYVAULT_WRAPPER_VAULT_NAME", "")]));
    assert_eq!(seal.endpoint.host_str(), Some("kv1.vault.azure.net"));
}

#[test]
fn everything_reads_as_written() {
    let fields = format!(
        "{VAULT}endpoint = \"https://kv1.private.test:8443\"\nresource = \"ManagedHSM.azure.net\"\n\
         authority_host = \"https://login.test\"\nca_file = \"/etc/selkie/ca.pem\"\n\
         proxy = \"file:///keys/proxy\"\nwrap = \"remote\"\npoll_interval = \"1s\"\n\
         public_key_sha256 = [\"{}\", \"{}=\"]\nidentity = \"managed_identity\"\n\
         object_id = \"{CLIENT}\"\nimds_endpoint = \"http://127.0.0.1:8444\"",
        "ab".repeat(32),
        "A".repeat(43),
    );
    let (seal, warnings) = read(&fields, &[]);
    assert_eq!(seal.endpoint.as_str(), "https://kv1.private.test:8443/");
    assert_eq!(seal.resource, "managedhsm.azure.net");
    assert_eq!(seal.authority.as_str(), "https://login.test/");
    assert_eq!(seal.ca_certificates.map(|list| list.len()), Some(2));
    assert_eq!((seal.wrap, seal.poll_interval), (WrapPlace::Remote, Duration::from_secs(1)));
    let keys: Vec<_> = seal.public_keys.iter().map(|key| *key.as_bytes()).collect();
    assert_eq!(keys, [[0xab; 32], [0; 32]]);
    let proxy = seal.key_vault_proxy.expect("a proxy");
    assert_eq!(Some(&proxy), seal.entra_proxy.as_ref());
    assert_eq!(proxy.into_url().as_str(), "http://user:hunter2@proxy.test:3128/");
    let id = UserAssignedIdentity::ObjectId(CLIENT.to_owned());
    let AzureIdentity::ManagedIdentity { user_assigned, endpoint } = seal.identity else {
        panic!("{:?}", seal.identity);
    };
    assert_eq!((user_assigned, endpoint.as_str()), (Some(id), "http://127.0.0.1:8444/"));
    assert_eq!(seal.identity_reason, IdentityReason::Declared(Origin::Field("identity")));
    assert_eq!(warnings, []);
}

#[test]
fn a_key_s_name_has_one_spelling() {
    let spelt = seal("vault_name = \"kv1\"\nkey_name = \"UnSeal-1\"", &[]);
    assert_eq!(spelt.key_name, "unseal-1");
}

#[test]
fn former_vaults_are_whole_hosts_of_whatever_service() {
    let place = "vault_name = \"kv2\"\nkey_name = \"unseal\"\n";
    let hosts = "[\"KV1.vault.azure.net\", \"hsm1.managedhsm.azure.net\", \"localhost:8443\"]";
    let seal = seal(&format!("{place}former_vaults = {hosts}"), &[]);
    let former: Vec<_> = seal.former_vaults.iter().map(Url::as_str).collect();
    let urls = ["kv1.vault.azure.net", "hsm1.managedhsm.azure.net", "localhost:8443"];
    assert_eq!(former, urls.map(|host| format!("https://{host}/")));
}

#[test]
fn a_cloud_has_its_own_addresses() {
    for (cloud, endpoint, authority) in [
        ("AzureChinaCloud", "https://kv1.vault.azure.cn/", "https://login.chinacloudapi.cn/"),
        (
            "AZUREUSGOVERNMENTCLOUD",
            "https://kv1.vault.usgovcloudapi.net/",
            "https://login.microsoftonline.us/",
        ),
    ] {
        let seal = seal("", &with(&[("AZURE_ENVIRONMENT", cloud)]));
        assert_eq!((seal.endpoint.as_str(), seal.authority.as_str()), (endpoint, authority));
    }
    let hsm = seal("", &with(&[("AZURE_AD_RESOURCE", "managedhsm.azure.net")]));
    assert_eq!(hsm.endpoint.as_str(), "https://kv1.managedhsm.azure.net/");
}

#[test]
fn a_complete_triple_is_a_client_secret() {
    let triple = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_CLIENT_SECRET", "of the environment"),
    ];
    let from_environment = seal("", &with(&triple));
    let AzureIdentity::ClientSecret { tenant_id, client_id, client_secret } =
        from_environment.identity
    else {
        panic!("{:?}", from_environment.identity);
    };
    assert_eq!((tenant_id.as_str(), client_id.as_str()), (TENANT, CLIENT));
    assert_eq!(*client_secret, "of the environment");
    let why = "environment variable AZURE_CLIENT_SECRET is set";
    assert_eq!(from_environment.identity_reason.to_string(), why);

    let fields = format!(
        "{VAULT}tenant_id = \"file:///keys/tenant\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"file:///keys/secret\""
    );
    let from_file = seal(&fields, &[]);
    let AzureIdentity::ClientSecret { tenant_id, client_secret, .. } = from_file.identity else {
        panic!("{:?}", from_file.identity);
    };
    assert_eq!((tenant_id.as_str(), client_secret.as_str()), (TENANT, "s3cret of the file"));
    assert_eq!(from_file.identity_reason.to_string(), "field \"client_secret\" is set");
}

/// What the webhook of AKS sets in a pod.
const WEBHOOK: [(&str, &str); 4] = [
    ("AZURE_TENANT_ID", TENANT),
    ("AZURE_CLIENT_ID", CLIENT),
    ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
];

#[test]
fn a_pod_of_aks_has_a_workload_identity_and_its_authority() {
    let (seal, warnings) = read("", &with(&WEBHOOK));
    let AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file } = seal.identity else {
        panic!("{:?}", seal.identity);
    };
    assert_eq!((tenant_id.as_str(), client_id.as_str()), (TENANT, CLIENT));
    assert!(token_file.ends_with("azure-identity-token"));
    let why = "environment variable AZURE_FEDERATED_TOKEN_FILE is set";
    assert_eq!(seal.identity_reason.to_string(), why);
    assert_eq!(seal.authority.as_str(), "https://login.microsoftonline.us/");
    assert_eq!(warnings, []);
}

#[test]
fn a_complete_triple_comes_before_the_token_file_of_the_webhook() {
    let variables = [&WEBHOOK[..3], &[("AZURE_CLIENT_SECRET", "s")]].concat();
    let seal = seal("", &with(&variables));
    assert!(matches!(seal.identity, AzureIdentity::ClientSecret { .. }), "{:?}", seal.identity);
}

#[test]
fn a_stray_authority_host_redirects_no_credential() {
    let stray = ("AZURE_AUTHORITY_HOST", "https://evil.test");
    let secret = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_CLIENT_SECRET", "s"),
        stray,
    ];
    let token = "federated_token_file = \"/var/run/token\"";
    let own_token = [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT), stray];
    for (fields, variables) in [("", secret.as_slice()), (token, &own_token), ("", &[stray])] {
        let (seal, warnings) = read(fields, &with(variables));
        assert_eq!(seal.authority.as_str(), "https://login.microsoftonline.com/", "{variables:?}");
        assert_eq!(warnings, [WarningKind::StrayAuthorityHost]);
    }
    let declared = seal("authority_host = \"https://login.test\"", &with(&WEBHOOK));
    assert_eq!(declared.authority.as_str(), "https://login.test/", "the field wins");
}

#[test]
fn a_stray_identity_endpoint_is_ignored_unless_the_configuration_says_so() {
    let stray = with(&[("IDENTITY_ENDPOINT", "http://evil.test/token"), ("IDENTITY_HEADER", "h")]);
    let (ignored, warnings) = read("", &stray);
    let AzureIdentity::ManagedIdentity { endpoint, .. } = ignored.identity else {
        panic!("{:?}", ignored.identity);
    };
    assert_eq!(endpoint.as_str(), "http://169.254.169.254/");
    assert_eq!(warnings, [WarningKind::StrayIdentityEndpoint]);

    let fields = format!("identity = \"app_service\"\nclient_id = \"{CLIENT}\"");
    let (believed, warnings) = read(&fields, &stray);
    let AzureIdentity::AppService { user_assigned, endpoint, header } = believed.identity else {
        panic!("{:?}", believed.identity);
    };
    assert_eq!(user_assigned, Some(UserAssignedIdentity::ClientId(CLIENT.to_owned())));
    assert_eq!((endpoint.as_str(), header.as_str()), ("http://evil.test/token", "h"));
    assert_eq!(warnings, []);
}

#[test]
fn a_managed_identity_is_named_by_one_id() {
    let assigned = |fields: &str, variables: &[(&str, &str)]| {
        let seal = seal(fields, &with(variables));
        match seal.identity {
            AzureIdentity::ManagedIdentity { user_assigned, .. } => user_assigned,
            other => panic!("{other:?}"),
        }
    };
    let client = Some(UserAssignedIdentity::ClientId(CLIENT.to_owned()));
    let resource = Some(UserAssignedIdentity::ResourceId(RESOURCE_ID.to_owned()));
    assert_eq!(assigned("", &[("AZURE_CLIENT_ID", CLIENT)]), client);
    assert_eq!(assigned(&format!("resource_id = \"{RESOURCE_ID}\""), &[]), resource);
    let both = format!("resource_id = \"{RESOURCE_ID}\"\nmanaged_id_kind = \"RESOURCE_ID\"");
    assert_eq!(assigned(&both, &[("AZURE_CLIENT_ID", CLIENT)]), resource);
    let told = told("managed_id_kind = \"object_id\"", &PLACE);
    assert!(told.contains("\"object_id\" is not set"), "{told}");
}

#[test]
fn openbao_s_names_mean_the_same() {
    let fields = format!(
        "{VAULT}auth_method = \"certificate\"\ncert_path = \"/keys/client.pem\"\n\
         tenant_id = \"{TENANT}\"\nclient_id = \"{CLIENT}\""
    );
    let (seal, warnings) = read(&fields, &[]);
    let AzureIdentity::ClientCertificate { certificate, .. } = seal.identity else {
        panic!("{:?}", seal.identity);
    };
    assert_eq!(certificate.chain.len(), 1);
    assert!(!certificate.key.secret_der().is_empty());
    assert_eq!(seal.identity_reason, IdentityReason::Declared(Origin::Field("auth_method")));
    assert_eq!(warnings, []);
}

#[test]
fn a_named_identity_ignores_variables_of_others() {
    let variables = with(&[("AZURE_CLIENT_SECRET", "s"), ("AZURE_FEDERATED_TOKEN_FILE", "/t")]);
    let seal = seal("identity = \"managed_identity\"", &variables);
    assert!(matches!(seal.identity, AzureIdentity::ManagedIdentity { user_assigned: None, .. }));
}

#[test]
fn a_tenant_beside_a_managed_identity_is_only_warned_of() {
    let (_, warnings) = read(&format!("tenant_id = \"{TENANT}\""), &PLACE);
    assert_eq!(warnings, [WarningKind::UnusedTenant]);
}

#[test]
fn imds_on_another_machine_is_warned_of() {
    for host in ["imds.test", "127.0.0.1.test", "10.0.0.1"] {
        let (_, warnings) = read(&format!("imds_endpoint = \"http://{host}\""), &PLACE);
        assert_eq!(warnings, [WarningKind::DistantImds { host: host.to_owned() }]);
    }
    for near in ["localhost:1", "127.0.0.1:8444", "[::1]", "169.254.169.254"] {
        let (_, warnings) = read(&format!("imds_endpoint = \"http://{near}\""), &PLACE);
        assert_eq!(warnings, [], "{near}");
    }
}

#[test]
fn the_proxy_of_the_environment_is_judged_host_by_host() {
    let proxy = ("HTTPS_PROXY", "http://proxy.test:3128");
    let private = seal("", &with(&[proxy, ("NO_PROXY", ".vault.azure.net")]));
    assert_eq!(private.key_vault_proxy, None, "a private endpoint");
    assert_eq!(private.entra_proxy.map(|p| p.to_string()).as_deref(), Some(proxy.1));
    let both = seal("", &with(&[("https_proxy", "proxy.test:3128")]));
    assert_eq!(both.key_vault_proxy.map(|p| p.to_string()).as_deref(), Some(proxy.1));
    let declared = seal("proxy = \"http://other:1\"", &with(&[proxy, ("NO_PROXY", "*")]));
    assert_eq!(declared.key_vault_proxy.map(|p| p.to_string()).as_deref(), Some("http://other:1"));
}

#[test]
fn neither_debug_nor_a_message_shows_a_secret_of_azure() {
    let fields = format!(
        "{VAULT}tenant_id = \"{TENANT}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret = \"file:///keys/secret\"\nproxy = \"file:///keys/proxy\""
    );
    let shown = format!("{:?}", parse(&fields, &[]).expect("is sound"));
    assert!(shown.contains("ClientSecret") && shown.contains("proxy.test"), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"), "{shown}");
    let literal = fields.replace("file:///keys/secret", "hunter3");
    assert!(!told(&literal, &[]).contains("hunter3"));
}

const TWO: &str = r#"listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name       = "weu"
  priority   = 1
  vault_name = "kv-weu"
  key_name   = "selkie"
}
seal "azurekeyvault" {
  name       = "neu"
  priority   = 2
  vault_name = "kv-neu"
  key_name   = "selkie"
}
"#;

#[test]
fn what_describes_the_machine_may_serve_two_seals() {
    let of_machine = [
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
        ("HTTPS_PROXY", "http://proxy.test:3128"),
    ];
    let ids = format!("name = \"$1\"\n  tenant_id = \"{TENANT}\"\n  client_id = \"{CLIENT}\"");
    let text = TWO
        .replace("name       = \"weu\"", &ids.replace("$1", "weu"))
        .replace("name       = \"neu\"", &ids.replace("$1", "neu"));
    let config = Config::parse("x", &text, &WithVariables(of_machine.to_vec())).expect("is sound");
    assert_eq!(config.seals.len(), 2);
}

#[test]
fn every_variable_of_one_seal_is_refused_where_there_are_two() {
    for (variable, value) in [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_CLIENT_SECRET", "s"),
        ("AZURE_ENVIRONMENT", "AZUREPUBLICCLOUD"),
        ("AZURE_AD_RESOURCE", "vault.azure.net"),
        ("AZUREKEYVAULT_WRAPPER_VAULT_NAME", "kv1"),
        ("VAULT_AZUREKEYVAULT_VAULT_NAME", "kv1"),
        ("AZUREKEYVAULT_WRAPPER_KEY_NAME", "k"),
        ("VAULT_AZUREKEYVAULT_KEY_NAME", "k"),
        ("VAULT_AZUREKEYVAULT_RESOURCE_ID", RESOURCE_ID),
        ("VAULT_AZUREKEYVAULT_AUTH_METHOD", "default"),
    ] {
        let told = Config::parse("x", TWO, &WithVariables(vec![(variable, value)]));
        let told = told.expect_err("is refused").to_string();
        let expected = format!("variable {variable} would apply to the seals \"weu\" and \"neu\"");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn where_pins_are_kept_is_told_when_a_restart_would_lose_them() {
    let warnings = |top: &str, fields: &str, variables: &[(&str, &str)]| {
        let text = format!(
            "{top}\nlistener \"tcp\" {{\n  tls_disable = true\n}}\n\
             seal \"azurekeyvault\" {{\n{VAULT}{fields}\n}}\n"
        );
        let config = Config::parse("x", &text, &WithVariables(variables.to_vec()));
        let config = config.expect("is sound");
        let kinds: Vec<_> = config.warnings.into_iter().map(|warning| warning.kind).collect();
        (config.data_dir, config.local_key.is_some(), kinds)
    };
    let own = Some(Path::new("/srv/selkie").to_owned());
    let systemd = [("STATE_DIRECTORY", "/var/lib/selkie:/var/lib/other")];
    let of_systemd = Some(Path::new("/var/lib/selkie").to_owned());
    let (directory, key) = ("data_dir = \"/srv/selkie\"", "local_key = \"file:///keys/raw\"");
    let declared = format!("public_key_sha256 = \"{}\"", "ab".repeat(32));
    let both = format!("{directory}\n{key}");
    assert_eq!(warnings("", "", &[]), (None, false, vec![WarningKind::PinsForgotten]));
    assert_eq!(warnings(key, "", &[]), (None, true, vec![WarningKind::PinsForgotten]));
    let unproven = vec![WarningKind::PinsUnproven];
    assert_eq!(warnings("", "", &systemd), (of_systemd, false, unproven.clone()));
    assert_eq!(warnings(directory, "", &systemd), (own.clone(), false, unproven));
    assert_eq!(warnings(directory, &declared, &[]), (own.clone(), false, vec![]));
    assert_eq!(warnings(&both, "", &[]), (own, true, vec![]));
    assert_eq!(warnings("", "wrap = \"remote\"", &[]), (None, false, vec![]));
}

/// Every file that an example names is there: a key of its own, or a certificate.
#[derive(Debug)]
struct ExampleFiles;

impl Sources for ExampleFiles {
    fn variable(&self, _name: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        Ok(Zeroizing::new(selkie_crypto::sha256(path.as_os_str().as_encoded_bytes()).to_vec()))
    }

    fn text_file(&self, _path: &Path) -> Result<String, SourceError> {
        TestSources.text_file(Path::new("/etc/selkie/ca.pem"))
    }

    fn exposure(&self, _path: &Path) -> Option<selkie_config::Exposure> {
        None
    }
}

fn example(name: &str) -> Config {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    let text = fs::read_to_string(folder.join(name)).expect("reads");
    Config::parse(name, &text, &ExampleFiles).expect("is sound")
}

#[test]
fn the_examples_for_azure_read_as_documented() {
    let azure = |name: &str| {
        let config = example(name);
        let kinds = config.seals.into_iter().map(|seal| seal.kind);
        let mut found = kinds.filter_map(|kind| match kind {
            SealKind::AzureKeyVault(seal) => Some(*seal),
            _ => None,
        });
        found.next().expect("a seal in Key Vault")
    };
    let least = azure("azure.hcl");
    assert_eq!(least.endpoint.as_str(), "https://kv-selkie.vault.azure.net/");
    assert_eq!(least.identity_reason, IdentityReason::NothingElse);
    assert_eq!(azure("azure-emulator.hcl").endpoint.as_str(), "https://localhost:8443/");
    let reference = azure("reference.hcl");
    assert_eq!(reference.poll_interval, least.poll_interval, "the reference shows defaults");
    assert_eq!((reference.wrap, reference.resource), (least.wrap, least.resource));
}

#[test]
fn every_field_of_the_stanza_is_in_the_reference() {
    let reference = include_str!("../../../docs/examples/reference.hcl");
    let stanza = reference.split("seal \"azurekeyvault\" {").nth(1).expect("the stanza");
    for field in [
        "name",
        "priority",
        "disabled",
        "tenant_id",
        "client_id",
        "client_secret",
        "environment",
        "resource",
        "vault_name",
        "key_name",
        "former_vaults",
        "auth_method",
        "cert_path",
        "managed_id_kind",
        "resource_id",
        "endpoint",
        "ca_file",
        "proxy",
        "authority_host",
        "imds_endpoint",
        "identity",
        "federated_token_file",
        "object_id",
        "client_certificate_file",
        "public_key_sha256",
        "wrap",
        "poll_interval",
    ] {
        assert!(stanza.contains(field), "{field}");
    }
}
