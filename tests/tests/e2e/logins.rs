//! Logins by what somebody else has signed: a real OpenID provider, and Entra as the emulator plays
//! it. The token that comes of it does what its policy says, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Answer, Authority, Client, Emulator, Process, Site, free_port, python, skip, until,
};
use serde_json::{Value, json};

const TENANT: &str = "7e3a0000-0000-4000-8000-000000000001";
const POLICY: &str =
    "policy \"seal\" {\n  path \"transit/encrypt/autounseal\" { capabilities = [\"update\"] }\n}\n";

/// A real OpenID provider, and its token for the subject `alice`.
pub(crate) struct Provider {
    _process: Process,
    pub(crate) issuer: String,
    pub(crate) token: String,
}

impl Provider {
    /// An interpreter that has it, if it can be had here.
    pub(crate) fn python() -> Result<Option<PathBuf>> {
        let Some(python) = python()? else { return Ok(None) };
        let import = Command::new(&python).args(["-c", "import oidc_provider_mock"]).output()?;
        if !import.status.success() {
            skip("the OpenID provider", "run `make peers`")?;
            return Ok(None);
        }
        Ok(Some(python))
    }

    /// Starts it with its files in `dir`.
    pub(crate) fn start(python: &Path, authority: &Authority, dir: &Path) -> Result<Self> {
        let dir = dir.join("provider");
        fs::create_dir(&dir)?;
        let (certificate, key) = authority.issue("id")?.write(&dir)?;
        let (ca, chain) = (dir.join("ca.pem"), dir.join("chain.pem"));
        fs::write(&ca, authority.certificate())?;
        fs::write(&chain, fs::read_to_string(&certificate)? + authority.certificate())?;
        let mut command = Command::new(python);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.py");
        command.env_clear().env("SSL_CERT_FILE", &ca).args(["-W", "ignore"]).arg(script);
        command.arg(free_port()?.to_string()).args([&chain, &key]).arg("alice");
        let process = Process::start(command)?;
        let said: Value = process.stdout_line(|line| serde_json::from_str(line).ok())?;
        let text = |name: &str| said[name].as_str().map(str::to_owned).context("no answer");
        Ok(Self { issuer: text("issuer")?, token: text("token")?, _process: process })
    }
}

/// What a login answers, once the state is open.
fn log_in(client: &Client, path: &str, body: &Value) -> Result<Answer> {
    until("the state is open", || {
        let answer = client.put(path, body)?;
        Ok((answer.status != 503).then_some(answer))
    })
}

/// The token of a login works, within its policy.
fn check_login(client: &Client, answer: &Answer) -> Result<Value> {
    let body = answer.json();
    ensure!(answer.status == 200, "{}", answer.text());
    let token = body["auth"]["client_token"].as_str().context("no token")?;
    let client = client.with_token(token);
    let encrypted =
        client.put("transit/encrypt/autounseal", &json!({ "plaintext": "c2VjcmV0" }))?;
    ensure!(encrypted.status == 200, "{}", encrypted.text());
    ensure!(client.get("transit/keys/autounseal")?.status == 403, "more than its policy");
    Ok(body["auth"].clone())
}

#[test]
fn a_token_of_a_real_openid_provider_logs_in_where_the_role_binds_it() -> Result<()> {
    let Some(python) = Provider::python()? else { return Ok(()) };
    let mut site = Site::new()?;
    let authority = Authority::new()?;
    let provider = Provider::start(&python, &authority, site.dir())?;
    let role = |name: &str, subject: &str| {
        format!(
            "  role \"{name}\" {{\n    bound_audiences = [\"selkie\"]\n    bound_subject = \"{subject}\"\n    \
             user_claim = \"sub\"\n    token_policies = [\"seal\"]\n  }}\n"
        )
    };
    site.extra += &format!(
        "storage \"inmem\" {{}}\n{POLICY}auth \"jwt\" {{\n  oidc_discovery_url = \"{}\"\n  \
         oidc_discovery_ca_pem = <<EOT\n{}EOT\n{}{}}}\n",
        provider.issuer,
        authority.certificate(),
        role("alice", "alice"),
        role("bob", "bob"),
    );
    let selkie = site.start()?;
    let client = selkie.client();
    let body = |role: &str| json!({ "role": role, "jwt": provider.token });
    let auth = check_login(&client, &log_in(&client, "auth/jwt/login", &body("alice"))?)?;
    assert_eq!(auth["metadata"], json!({ "role": "alice" }));
    let other = log_in(&client, "auth/jwt/login", &body("bob"))?;
    assert_eq!(other.status, 400, "{}", other.text());
    assert!(other.text().contains("invalid subject (sub) claim"), "{}", other.text());
    assert!(!selkie.log().contains(&provider.token), "the log has the token");
    Ok(())
}

/// What the login knew is what the policy says: a role for everybody, a key for each.
#[test]
fn a_policy_names_who_logged_in_by_the_alias_of_the_method() -> Result<()> {
    let Some(python) = Provider::python()? else { return Ok(()) };
    let mut site = Site::new()?;
    let authority = Authority::new()?;
    let provider = Provider::start(&python, &authority, site.dir())?;
    site.keys += "key \"alice\" {}\nkey \"bob\" {}\n";
    let admin = site.client("admin", &["root"], "")?;
    site.extra += &format!(
        "storage \"inmem\" {{}}\nauth \"jwt\" {{\n  oidc_discovery_url = \"{}\"\n  \
         oidc_discovery_ca_pem = {:?}\n  role \"own\" {{\n    bound_audiences = [\"selkie\"]\n    \
         user_claim = \"sub\"\n    claim_mappings = {{ iss = \"issuer\" }}\n    \
         token_policies = [\"own\"]\n  }}\n}}\n",
        provider.issuer,
        authority.certificate(),
    );
    let selkie = site.start()?;
    let admin = selkie.client().with_token(&admin);
    let accessor = until("the state is open", || {
        let mounts = admin.get("sys/auth")?;
        Ok((mounts.status == 200).then(|| mounts.json()["jwt/"]["accessor"].clone()))
    })?;
    let alias = format!("identity.entity.aliases.{}", accessor.as_str().context("no accessor")?);
    let own = |field: &str| {
        let rule =
            format!("path \"transit/encrypt/{{{{{field}}}}}\" {{ capabilities = [\"update\"] }}");
        admin.put("sys/policies/acl/own", &json!({ "policy": rule }))
    };
    let written = until("the store is open", || {
        let answer = own(&format!("{alias}.name"))?;
        Ok((answer.status != 503).then_some(answer))
    })?;
    ensure!(written.status == 204, "{}", written.text());
    let body = json!({ "role": "own", "jwt": provider.token });
    let token = log_in(&selkie.client(), "auth/jwt/login", &body)?.json()["auth"].clone();
    let client = selkie.client().with_token(token["client_token"].as_str().context("no token")?);
    let encrypts = |key: &str| -> Result<u16> {
        let body = json!({ "plaintext": "c2VjcmV0" });
        Ok(client.put(&format!("transit/encrypt/{key}"), &body)?.status)
    };
    assert_eq!((encrypts("alice")?, encrypts("bob")?, encrypts("autounseal")?), (200, 403, 403));
    // A claim with slashes in it names no key, and reaches none.
    assert_eq!(own(&format!("{alias}.metadata.issuer"))?.status, 204);
    assert_eq!((encrypts("alice")?, encrypts("bob")?), (403, 403));
    let groups = own("identity.groups.names.seal.id")?;
    assert_eq!(groups.status, 400);
    assert!(groups.text().contains("no groups are kept here"), "{}", groups.text());
    Ok(())
}

#[test]
fn a_machine_logs_in_by_its_managed_identity_and_not_by_what_it_says_of_itself() -> Result<()> {
    let emulator = Emulator::new()?;
    let mut site = Site::new()?;
    let ca = fs::read_to_string(emulator.ca_file())?;
    let role = |name: &str, group: &str| {
        format!(
            "  role \"{name}\" {{\n    bound_resource_groups = [\"{group}\"]\n    \
             token_policies = [\"seal\"]\n  }}\n"
        )
    };
    site.extra += &format!(
        "storage \"inmem\" {{}}\n{POLICY}auth \"azure\" {{\n  path = \"machines\"\n  tenant_id = \"{TENANT}\"\n  \
         resource = \"api://selkie\"\n  authority_host = \"{}\"\n  authority_ca_pem = <<EOT\n{}\nEOT\n{}{}}}\n",
        emulator.url(),
        ca.trim_end(),
        role("mine", "emulator"),
        role("other", "prod"),
    );
    let selkie = site.start()?;
    let client = selkie.client();
    let imds = |resource: &str| -> Result<Value> {
        let path =
            format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}");
        let request = selkie_tests::Request::absolute("GET", &path).header("Metadata", "true");
        Ok(Client::plain(emulator.http).send(request)?.json()["access_token"].clone())
    };
    let token = imds("api://selkie")?;
    let body = |role: &str, token: &Value| json!({ "role": role, "jwt": token });
    let path = "auth/machines/login";
    let auth = check_login(&client, &log_in(&client, path, &body("mine", &token))?)?;
    assert_eq!(auth["metadata"]["vm_name"], "selkie");
    assert_eq!(auth["metadata"]["resource_group_name"], "emulator");
    let mut lie = body("other", &token);
    lie["resource_group_name"] = json!("prod");
    assert_eq!(log_in(&client, path, &lie)?.status, 403);
    let for_key_vault = log_in(&client, path, &body("mine", &imds("https://vault.azure.net")?))?;
    assert_eq!(for_key_vault.status, 400, "{}", for_key_vault.text());
    assert!(for_key_vault.text().contains("audience"), "{}", for_key_vault.text());
    Ok(())
}
