//! Clients that a certificate names, without any secret in a configuration.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, SanType, SerialNumber};
use selkie_tests::{
    Authority, Certificate, Client, Peer, Request, SealArguments, Selkie, Signal, Site, until,
};
use serde_json::{Value, json};

use crate::answer::{assert_envelope, assert_refused};
use crate::tls::config;
use crate::vault::Deployment;

/// A server with three declared clients: by SPIFFE id, by name, and by name and token.
struct Served {
    selkie: Selkie,
    site: Site,
    authority: Authority,
    both: String,
}

impl Served {
    fn new() -> Result<Self> {
        Self::with(|_authority| String::new())
    }

    /// The same, with more in its file.
    fn with(more: impl FnOnce(&Authority) -> String) -> Result<Self> {
        let authority = Authority::new()?;
        let mut site = Site::new()?;
        site.extra += &more(&authority);
        let (cert, key) = authority.issue("selkie")?.write(site.dir())?;
        let file = |name: &str| site.dir().join(name).display().to_string();
        fs::write(file("ca.pem"), authority.certificate())?;
        fs::write(file("crl.pem"), authority.revocation_list(&[])?)?;
        let (ca, crl) = (file("ca.pem"), file("crl.pem"));
        site.tls = true;
        site.listener = format!(
            "tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"\n  tls_client_ca_file = \"{ca}\"\n  \
             tls_client_crl_file = \"{crl}\"",
            cert.display(),
            key.display(),
        );
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        for (name, rule) in [
            ("vault-spiffe", "spiffe_id = \"spiffe://example.org/vault\""),
            ("vault-named", "common_name = \"vault-*\"\n    dns_san = \"*.vault.example.com\""),
            ("vault-wide", "dns_san = \"shared.example.com\""),
            ("vault-wider", "email_san = \"shared@example.com\""),
        ] {
            site.extra += &format!(
                "client \"{name}\" {{\n  policies = [\"seal\"]\n  certificate {{\n    {rule}\n  }}\n}}\n"
            );
        }
        let bound = "certificate {\n    common_name = \"bound\"\n  }";
        let both = site.client("vault-both", &["seal"], bound)?;
        let selkie = site.start()?;
        Ok(Self { site, authority, selkie, both })
    }

    fn client(&self, shown: Option<&Certificate>) -> Result<Client> {
        let tls = config(&self.authority, rustls::ALL_VERSIONS, shown)?;
        Ok(Client { tls: Some(tls), ..self.selkie.client() })
    }

    fn issue(&self, name: &str, serial: u64, sans: Vec<SanType>) -> Result<Certificate> {
        self.authority.issue_with(name, |params: &mut CertificateParams| {
            params.serial_number = Some(SerialNumber::from(serial));
            params.subject_alt_names = sans;
            Ok(())
        })
    }

    fn spiffe(&self, serial: u64) -> Result<Certificate> {
        let id = SanType::URI("spiffe://example.org/vault".try_into()?);
        self.issue("anything", serial, vec![id])
    }

    /// The certificate and its key as files.
    fn files(&self, shown: &Certificate) -> Result<(PathBuf, PathBuf)> {
        let dir = self.site.dir().join("client");
        fs::create_dir_all(&dir)?;
        shown.write(&dir)
    }
}

fn dns(name: &str) -> Result<SanType> {
    Ok(SanType::DnsName(name.try_into()?))
}

fn encrypts(client: &Client) -> Result<()> {
    let body = json!({ "plaintext": "YQ==" });
    let data = assert_envelope(&client.put("transit/encrypt/autounseal", &body)?)?;
    let ciphertext = json!({ "ciphertext": data["ciphertext"] });
    let data = assert_envelope(&client.put("transit/decrypt/autounseal", &ciphertext)?)?;
    assert_eq!(data["plaintext"], "YQ==");
    Ok(())
}

fn is_refused(client: &Client) -> Result<()> {
    let body = json!({ "plaintext": "YQ==" });
    assert_refused(&client.put("transit/encrypt/autounseal", &body)?, 403, "permission denied");
    Ok(())
}

#[test]
fn a_policy_names_a_client_by_what_its_certificate_says() -> Result<()> {
    let served = Served::with(|_authority| {
        "key \"vault-7\" {}\nkey \"vault-8\" {}\npolicy \"own\" {\n  path \
         \"transit/encrypt/{{certificate.common_name}}\" { capabilities = [\"update\"] }\n  path \
         \"transit/decrypt/{{certificate.dns_san}}\" { capabilities = [\"update\"] }\n}\n\
         client \"fleet\" {\n  policies = [\"own\"]\n  certificate {\n    common_name = \
         \"vault-*\"\n    email_san = \"fleet@example.com\"\n  }\n}\n"
            .to_owned()
    })?;
    let mail = SanType::Rfc822Name("fleet@example.com".try_into()?);
    let seven = served.issue("vault-7", 7, vec![mail.clone()])?;
    let other = served.issue("vault-*", 8, vec![mail])?;
    for (shown, own, others) in [(seven, 200, 403), (other, 403, 403)] {
        let client = served.client(Some(&shown))?;
        let body = json!({ "plaintext": "YQ==" });
        assert_eq!(client.put("transit/encrypt/vault-7", &body)?.status, own);
        assert_eq!(client.put("transit/encrypt/vault-8", &body)?.status, others);
        // It has no DNS name, so this rule says nothing to it.
        let body = json!({ "ciphertext": "vault:v1:AAAA" });
        assert_eq!(client.put("transit/decrypt/vault-7", &body)?.status, 403);
    }
    Ok(())
}

#[test]
fn a_certificate_alone_encrypts_and_decrypts_as_the_client_that_it_names() -> Result<()> {
    let served = Served::new()?;
    encrypts(&served.client(Some(&served.spiffe(1)?))?)?;
    let named = served.issue("vault-1", 2, vec![dns("a.vault.example.com")?])?;
    encrypts(&served.client(Some(&named))?)
}

#[test]
fn who_is_named_by_nothing_or_by_two_is_refused() -> Result<()> {
    let served = Served::new()?;
    is_refused(&served.client(None)?)?;
    let email = SanType::Rfc822Name("shared@example.com".try_into()?);
    for (name, sans) in [
        ("vault-1", vec![]),
        ("vault-1", vec![dns("vault.example.com")?]),
        ("other", vec![dns("a.vault.example.com")?]),
        ("two", vec![dns("shared.example.com")?, email]),
    ] {
        is_refused(&served.client(Some(&served.issue(name, 3, sans)?))?)?;
    }
    let told = "that of several clients: vault-wide, vault-wider";
    served.selkie.process.stderr_line(0, |line| line.contains(told).then_some(()))
}

#[test]
fn a_token_decides_and_must_come_with_the_certificate_that_it_is_bound_to() -> Result<()> {
    let served = Served::new()?;
    let (spiffe, bound) = (served.spiffe(1)?, served.issue("bound", 2, vec![])?);
    encrypts(&served.client(Some(&bound))?.with_token(&served.both))?;
    is_refused(&served.client(Some(&bound))?)?;
    is_refused(&served.client(None)?.with_token(&served.both))?;
    is_refused(&served.client(Some(&spiffe))?.with_token(&served.both))?;
    // The certificate would do, but a token that is unknown or none at all speaks first.
    is_refused(&served.client(Some(&spiffe))?.with_token(&selkie_tests::token()?))?;
    is_refused(&served.client(Some(&spiffe))?.with_token("not a token"))
}

#[test]
fn who_has_no_token_has_none_to_look_up_or_renew() -> Result<()> {
    let served = Served::new()?;
    let client = served.client(Some(&served.spiffe(1)?))?;
    for path in ["auth/token/renew-self", "auth/token/lookup-self"] {
        let answer = client.put(path, &json!({}))?;
        assert!(matches!(answer.status, 403 | 405), "{path}: {}", answer.text());
    }
    assert_refused(&client.get("auth/token/lookup-self")?, 403, "permission denied");
    Ok(())
}

#[test]
fn a_connection_that_is_kept_does_not_outlive_the_revocation_of_its_certificate() -> Result<()> {
    let served = Served::new()?;
    let (revoked, other) = (served.spiffe(7)?, served.spiffe(8)?);
    let client = served.client(Some(&revoked))?;
    let mut open = client.connect()?;
    let body = json!({ "plaintext": "YQ==" });
    let ask = || Request::new("PUT", "transit/encrypt/autounseal").json(&body);
    assert_eq!(open.send(ask())?.status, 200);
    fs::write(served.site.dir().join("crl.pem"), served.authority.revocation_list(&[7])?)?;
    assert_eq!(open.send(ask())?.status, 200, "not before the reload");
    served.selkie.process.signal(Signal::HUP)?;
    until("the handshake refuses it", || Ok(client.get("sys/seal-status").is_err().then_some(())))?;
    let answer = open.send(ask())?;
    assert_refused(&answer, 403, "permission denied");
    assert_eq!(answer.header("connection"), Some("close"));
    until("the log says why", || {
        Ok(served.selkie.log().contains("client certificate no longer passes").then_some(()))
    })?;
    encrypts(&served.client(Some(&other))?)
}

#[test]
fn a_vault_is_initialised_and_unseals_with_a_certificate_alone() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let served = Served::new()?;
    let (cert, key) = served.files(&served.spiffe(1)?)?;
    let ca = served.site.dir().join("ca.pem");
    let further = [("-seal-ca-cert", ca), ("-seal-client-cert", cert), ("-seal-client-key", key)];
    let further = further.map(|(flag, file)| format!("{flag}={}", file.display()));
    let seal = SealArguments {
        address: served.selkie.url(),
        token: String::new(),
        key: "autounseal".to_owned(),
        further: further.into(),
    };
    let storage = served.site.dir().join("vault");
    let deployment = Deployment { program, storage, seal };
    let token = deployment.with_secret()?;
    deployment.assert_comes_up_by_itself(&token)
}

#[test]
fn the_published_wrappers_work_with_a_certificate_alone() -> Result<()> {
    let served = Served::new()?;
    let (cert, key) = served.files(&served.spiffe(1)?)?;
    let ca = served.site.dir().join("ca.pem");
    for wrapper in [Peer::WrapperV0, Peer::WrapperV2] {
        let Some(program) = wrapper.find()? else { continue };
        let mut command = Command::new(program);
        command.env_clear().args(["-address", &served.selkie.url(), "-mount", "transit"]);
        command.args(["-key", "autounseal", "-ca-cert"]).arg(&ca);
        command.arg("-client-cert").arg(&cert).arg("-client-key").arg(&key);
        let output = command.output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        let report: Value =
            serde_json::from_slice(&output.stdout).with_context(|| log.to_string())?;
        assert_eq!((output.status.code(), &report["error"]), (Some(0), &Value::Null), "{report}");
        assert_eq!(report["round_trips"], 4, "{report}\n{log}");
    }
    Ok(())
}

/// `auth "cert"` with a role for certificates named `vault-*`.
fn declared_method(authority: &Authority) -> String {
    format!(
        "storage \"inmem\" {{}}\nauth \"cert\" {{\n  role \"vault\" {{\n    certificate = <<EOT\n{}EOT\n    \
         allowed_common_names = [\"vault-*\"]\n    token_policies = [\"seal\"]\n  }}\n}}\n",
        authority.certificate(),
    )
}

#[test]
fn a_certificate_logs_in_by_a_declared_role_with_hvac_and_with_curl() -> Result<()> {
    let served = Served::with(declared_method)?;
    let shown = served.issue("vault-7", 7, vec![dns("nobody.example.com")?])?;
    let client = served.client(Some(&shown))?;
    let answer = until("the state is open", || {
        let answer = client.put("auth/cert/login", &json!({}))?;
        Ok((answer.status != 503).then_some(answer))
    })?;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(body["auth"]["metadata"]["cert_name"], "vault");
    assert_eq!(body["auth"]["policies"], json!(["default", "seal"]));
    let token = body["auth"]["client_token"].as_str().context("no token")?;
    encrypts(&served.client(None)?.with_token(token))?;
    let other = served.issue("other", 8, vec![])?;
    let refused = served.client(Some(&other))?.put("auth/cert/login", &json!({}))?;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let (cert, key) = served.files(&shown)?;
    let (ca, url) = (served.site.dir().join("ca.pem"), served.selkie.url());
    if let Some(curl) = Peer::Curl.find()? {
        let mut command = Command::new(curl);
        command.args(["-sS", "-X", "POST", "-d", "{\"name\": \"vault\"}", "--cacert"]).arg(&ca);
        command.arg("--cert").arg(&cert).arg("--key").arg(&key);
        let output = command.arg(format!("{url}/v1/auth/cert/login")).output()?;
        let said: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(said["auth"]["metadata"]["common_name"], "vault-7", "{said}");
    }
    let Some(python) = selkie_tests::python()? else { return Ok(()) };
    let script = "import hvac, sys\nurl, ca, cert, key = sys.argv[1:]\n\
                  client = hvac.Client(url=url, verify=ca)\n\
                  client.auth.cert.login(name='vault', cert_pem=cert, key_pem=key)\n\
                  made = client.secrets.transit.encrypt_data(name='autounseal', plaintext='YQ==')\n\
                  print(made['data']['ciphertext'])\n";
    let mut command = Command::new(python);
    command.env_clear().args(["-c", script, &url]).args([&ca, &cert, &key]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("vault:v"), "{said}");
    Ok(())
}
