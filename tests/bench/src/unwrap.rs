//! The same unwrap asked of Key Vault directly, through our own provider, and through a server.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_crypto::{RecipientSecret, WrapAlgorithm};
use selkie_kms::azure::{AzureKeyVault, AzureSettings, Identity};
use selkie_kms::{Call, ClientTag, Kms};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::seal_client::SealClient;

/// Asks in turn, one at a time. Prints one JSON object, in microseconds.
#[derive(Debug, clap::Args)]
pub(crate) struct Unwrap {
    /// A Selkie's plain listener, whose master key is the same.
    #[arg(long)]
    server: SocketAddr,
    /// A token that may encrypt and decrypt.
    #[arg(long)]
    token: String,
    /// Key Vault.
    #[arg(long)]
    endpoint: Url,
    /// The authority of its certificate.
    #[arg(long)]
    ca_file: PathBuf,
    /// Where its managed identity is.
    #[arg(long)]
    imds_endpoint: Url,
    /// The name of the master key.
    #[arg(long, default_value = "selkie")]
    key_name: String,
    /// How often each is asked.
    #[arg(long, default_value_t = 1000)]
    pairs: usize,
}

impl Unwrap {
    pub(crate) async fn run(self) -> Result<()> {
        let kms = self.provider()?;
        let kek = kms.describe().await?.current().id.clone();
        let secret = RecipientSecret::init_with(|bytes| bytes.fill(7));
        let wrapped = kms.wrap_dek(&kek, &secret, call()).await?;
        let client = SealClient::new(self.server, &self.token, "autounseal");
        let mut connection = client.connect().await?;
        let encrypted =
            client.ask(&mut connection, "encrypt", json!({ "plaintext": "cm9vdA==" })).await?;
        ensure!(encrypted.0 == StatusCode::OK, "encrypt: {}", encrypted.0);
        let encrypted: Value = serde_json::from_slice(&encrypted.1)?;
        let body = json!({ "ciphertext": encrypted["data"]["ciphertext"] });
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        for _ in 0..self.pairs {
            let began = Instant::now();
            kms.unwrap_dek(&kek, WrapAlgorithm::RsaOaep256, &wrapped, call()).await?;
            direct.push(began.elapsed());
            let began = Instant::now();
            let (status, _) = client.ask(&mut connection, "decrypt", body.clone()).await?;
            through.push(began.elapsed());
            ensure!(status == StatusCode::OK, "decrypt: {status}");
        }
        let report = json!({ "direct": percentiles(direct)?, "through": percentiles(through)? });
        writeln!(stdout(), "{report}")?;
        Ok(())
    }

    fn provider(&self) -> Result<AzureKeyVault> {
        let authorities: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&self.ca_file)?.collect();
        let identity =
            Identity::ManagedIdentity { user_assigned: None, endpoint: self.imds_endpoint.clone() };
        let settings = AzureSettings {
            endpoint: self.endpoint.clone(),
            resource: "vault.azure.net".into(),
            key_name: self.key_name.clone(),
            former_vaults: Vec::new(),
            wrap_remotely: false,
            identity,
            authority: "https://login.microsoftonline.com".parse()?,
            ca_certificates: Some(authorities?),
            key_vault_proxy: None,
            entra_proxy: None,
        };
        Ok(AzureKeyVault::new(settings, Arc::new(now))?)
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement runs in this machine's own time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(10) }
}

fn percentiles(mut times: Vec<Duration>) -> Result<Value> {
    times.sort_unstable();
    let at = |part: usize| {
        let time = times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
        Ok::<_, anyhow::Error>(u64::try_from(time.context("no samples")?.as_micros())?)
    };
    Ok(json!({ "p50": at(50)?, "p99": at(99)? }))
}
