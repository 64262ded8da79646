//! TLS: what is spoken, and certificates that change while the server runs.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use selkie_tests::{Authority, Client, Selkie, Signal, Site, until};
use serde_json::json;

use crate::answer::assert_envelope;

struct Served {
    selkie: Selkie,
    site: Site,
    authority: Authority,
    client: Client,
}

impl Served {
    /// A server whose only listener speaks TLS, with further fields of that listener.
    fn new(further: &str) -> Result<Self> {
        let authority = Authority::new()?;
        let mut site = Site::new()?;
        let (cert, key) = authority.issue("first")?.write(site.dir())?;
        fs::write(site.dir().join("ca.pem"), authority.certificate())?;
        site.tls = true;
        site.listener = format!(
            "tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"\n  {}",
            cert.display(),
            key.display(),
            further.replace("CA", &site.dir().join("ca.pem").display().to_string())
        );
        let token = site.client("c", &["root"], "")?;
        let selkie = site.start()?;
        let client = selkie.client().with_token(&token);
        let client = Client { tls: Some(authority.trusted()?), ..client };
        Ok(Self { site, authority, selkie, client })
    }

    fn encrypts(&self, client: &Client) -> Result<()> {
        let body = json!({ "plaintext": "YQ==" });
        assert_envelope(&client.put("transit/encrypt/autounseal", &body)?)?;
        Ok(())
    }
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_old_connections_live_on() -> Result<()> {
    let served = Served::new("")?;
    let mut open = served.client.connect()?;
    let get = || selkie_tests::Request::new("GET", "sys/seal-status");
    assert_eq!(open.send(get())?.status, 200);

    let renewed = Authority::new()?;
    renewed.issue("second")?.write(served.site.dir())?;
    let after = Client { tls: Some(renewed.trusted()?), ..served.client.clone() };
    assert!(after.get("sys/seal-status").is_err(), "not before the reload");
    served.selkie.process.signal(Signal::HUP)?;
    until("the new certificate is shown", || Ok(after.get("sys/seal-status").ok()))?;
    assert!(served.client.get("sys/seal-status").is_err(), "the old one is gone");
    assert_eq!(open.send(get())?.status, 200, "the connection was not touched");
    Ok(())
}

#[test]
fn a_broken_certificate_changes_nothing_at_a_reload() -> Result<()> {
    let mut served = Served::new("")?;
    let other = served.authority.issue("other")?;
    // A key that does not belong to the certificate, and a policy that must not come in with it.
    fs::write(served.site.dir().join("key.pem"), &other.key)?;
    served.site.extra = String::new();
    served.site.write()?;
    let before = served.selkie.process.stderr().len();
    served.selkie.process.signal(Signal::HUP)?;
    let told = served.selkie.process.stderr_line(before, |line| {
        line.to_ascii_lowercase().contains("reload").then(|| line.to_owned())
    })?;
    served.selkie.says("key.pem").with_context(|| format!("the file; told was {told}"))?;
    served.encrypts(&served.client)
}

#[test]
fn nothing_but_http_1_1_is_offered() -> Result<()> {
    let served = Served::new("")?;
    let config = served.client.tls.clone().context("no TLS")?;
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Client { tls: Some(Arc::new(config)), ..served.client.clone() };
    served.encrypts(&client)
}

#[test]
fn both_versions_of_tls_are_spoken_unless_one_is_excluded() -> Result<()> {
    let both = Served::new("")?;
    let only_13 = Served::new("tls_min_version = \"tls13\"")?;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let with = |served: &Served| {
            let config = config(&served.authority, &[version], None)?;
            anyhow::Ok(Client { tls: Some(config), ..served.client.clone() })
        };
        both.encrypts(&with(&both)?)?;
        let answer = with(&only_13)?.get("sys/seal-status");
        let is_13 = version.version == rustls::ProtocolVersion::TLSv1_3;
        assert_eq!(answer.is_ok(), is_13, "{version:?}");
    }
    Ok(())
}

#[test]
fn a_listener_may_require_a_clients_certificate() -> Result<()> {
    let served =
        Served::new("tls_client_ca_file = \"CA\"\n  tls_require_and_verify_client_cert = true")?;
    assert!(served.client.get("sys/seal-status").is_err(), "none was shown");
    for (authority, is_trusted) in [(&served.authority, true), (&Authority::new()?, false)] {
        let shown = authority.issue("a client")?;
        let config = config(&served.authority, rustls::ALL_VERSIONS, Some(&shown))?;
        let client = Client { tls: Some(config), ..served.client.clone() };
        assert_eq!(client.get("sys/seal-status").is_ok(), is_trusted);
    }
    Ok(())
}

#[test]
fn plain_http_on_a_tls_listener_is_no_harm() -> Result<()> {
    let served = Served::new("")?;
    let plain = Client { tls: None, ..served.client.clone() };
    assert!(plain.get("sys/seal-status").map_or(true, |answer| answer.status == 400));
    served.encrypts(&served.client)
}

pub(crate) fn config(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
    shown: Option<&selkie_tests::Certificate>,
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes())?)?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_webpki_verifier(verifier.build()?);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes())?];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes())?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    Ok(Arc::new(config))
}
