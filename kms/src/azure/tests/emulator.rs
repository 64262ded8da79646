//! The contract of every provider, for Key Vault as `selkie-emulator` plays it: over TLS, with
//! managed identity, and with cryptography and HTTP that share nothing with the provider.

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_emulator::Options;
use url::Url;
use zeroize::Zeroizing;

use crate::Kms;
use crate::azure::identity::Credential;
use crate::azure::{AzureKeyVault, AzureSettings, Identity};
use crate::http::{HttpClient, HttpClientSettings, Resolve, Resolved, Roots};

const VAULTS: &str = r#"{
    "identities": [{ "name": "selkie", "system_assigned": true }],
    "vaults": [
        {
            "name": "kv1", "kind": "vault",
            "roles": [{
                "principal": "selkie", "role": "Key Vault Crypto Service Encryption User"
            }],
            "keys": [{
                "name": "selkie", "kty": "RSA", "key_size": 2048,
                "key_ops": ["wrapKey", "unwrapKey"], "versions": [
                    { "version": "00000000000000000000000000000001", "created": 1700000000 },
                    { "version": "00000000000000000000000000000002", "created": 1700000100 }
                ]
            }]
        },
        {
            "name": "hsm1", "kind": "managed_hsm",
            "roles": [{
                "principal": "selkie", "role": "Managed HSM Crypto Service Encryption User"
            }],
            "keys": [{
                "name": "selkie", "kty": "oct-HSM", "key_size": 256,
                "key_ops": ["wrapKey", "unwrapKey"], "versions": [
                    { "version": "00000000000000000000000000000001", "created": 1700000000 },
                    { "version": "00000000000000000000000000000002", "created": 1700000100 }
                ]
            }]
        }
    ]
}"#;

struct Emulator {
    https: u16,
    identity: Url,
    header: String,
    ca: Vec<CertificateDer<'static>>,
}

/// One for all claims. It has a thread and a runtime of its own, because each claim has a runtime
/// that ends with it.
static EMULATOR: LazyLock<Emulator> = LazyLock::new(|| {
    let (started, emulator) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // What it needs of files it needs at its start: nothing that is static is ever dropped.
            let dir = tempfile::tempdir().unwrap();
            let vaults = dir.path().join("vaults.json");
            std::fs::write(&vaults, VAULTS).unwrap();
            let (vaults, ca_dir) = (Some(vaults), Some(dir.path().to_owned()));
            let options = Options { vaults, ca_dir, throttle: false, ..Options::default() };
            let running = selkie_emulator::start(options).await.unwrap();
            let ca = CertificateDer::pem_file_iter(running.ca_file()).unwrap();
            let emulator = Emulator {
                https: running.https().port(),
                identity: format!("http://{}/msi/token", running.http()).parse().unwrap(),
                header: running.welcome().app_service_header,
                ca: ca.map(Result::unwrap).collect(),
            };
            drop(dir);
            started.send(emulator).unwrap();
            std::future::pending::<()>().await;
        });
    });
    emulator.recv().unwrap()
});

/// Every name is here, so that each vault is reached by its own.
#[derive(Debug)]
struct Loopback;

impl Resolve for Loopback {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolved<'a> {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

fn identity() -> Identity {
    let Emulator { identity, header, .. } = &*EMULATOR;
    let header = Zeroizing::new(header.clone());
    Identity::AppService { user_assigned: None, endpoint: identity.clone(), header }
}

fn settings(vault: &str, service: &str, wrap_remotely: bool) -> AzureSettings {
    let https = EMULATOR.https;
    AzureSettings {
        endpoint: format!("https://{vault}.{service}:{https}").parse().unwrap(),
        resource: format!("{service}:{https}"),
        key_name: "selkie".to_owned(),
        former_vaults: Vec::new(),
        wrap_remotely,
        identity: identity(),
        authority: "https://login.emulator.test".parse().unwrap(),
        ca_certificates: None,
        key_vault_proxy: None,
        entra_proxy: None,
    }
}

/// A provider as it is in service, but for who resolves names.
fn provider(vault: &str, service: &str, wrap_remotely: bool) -> Arc<dyn Kms> {
    let settings = settings(vault, service, wrap_remotely);
    let roots = Roots::Given(EMULATOR.ca.clone());
    let resolver = Arc::new(Loopback);
    let https = HttpClientSettings { roots, resolver, ..HttpClientSettings::default() };
    let https = HttpClient::https(https).unwrap();
    let plain = HttpClient::plain(HttpClientSettings::default()).unwrap();
    let (resource, authority) = (&settings.resource, &settings.authority);
    let credential =
        Credential::new(identity(), resource, authority, Arc::clone(&https), plain).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the emulator lives by the real clock")]
    let clock = Arc::new(SystemTime::now);
    Arc::new(AzureKeyVault::over(&settings, https, credential, clock).unwrap())
}

mod rsa {
    async fn open() -> std::sync::Arc<dyn crate::Kms> {
        super::provider("kv1", "vault.emulator.test", false)
    }

    crate::kms_contract!(open);
}

mod rsa_wrapped_remotely {
    async fn open() -> std::sync::Arc<dyn crate::Kms> {
        super::provider("kv1", "vault.emulator.test", true)
    }

    crate::kms_contract!(open);
}

mod managed_hsm {
    async fn open() -> std::sync::Arc<dyn crate::Kms> {
        super::provider("hsm1", "managedhsm.emulator.test", false)
    }

    crate::kms_contract!(open);
}
