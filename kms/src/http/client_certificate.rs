//! [`ClientCertificate`]: whom we are for servers that ask in the handshake.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;
use zeroize::Zeroizing;

use super::ClientCertificateError;

/// More than any certificate with its issuers, and any key.
const LARGEST_FILE: u64 = 1 << 20;
/// How long a handshake waits for the files: long for a disk, short for whoever waits for the KMS.
const PATIENCE: Duration = Duration::from_millis(500);

/// A certificate and its key, in two PEM files (which may be one), read again when they change: a
/// certificate is renewed while we run. Until both fit together again, the former one is shown.
pub struct ClientCertificate {
    certificate: PathBuf,
    key: PathBuf,
    /// Locked for a look at the pointer alone.
    shown: Mutex<Arc<CertifiedKey>>,
    /// What the files were when they were read last; locked for as long as someone looks at them.
    seen: Arc<tokio::sync::Mutex<Changed>>,
}

/// When each of the two files was last written to.
type Changed = [Option<SystemTime>; 2];

impl ClientCertificate {
    /// The certificate in the file `certificate` with the key in the file `key`.
    ///
    /// # Errors
    /// [`ClientCertificateError`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Arc<Self>, ClientCertificateError> {
        let changed = [certificate, key].map(changed);
        let certified = Arc::new(read(certificate, key)?);
        Ok(Arc::new(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            shown: Mutex::new(certified),
            seen: Arc::new(tokio::sync::Mutex::new(changed)),
        }))
    }

    /// Looks at the files, which may lie where an answer never comes (NFS): away from the threads that
    /// serve, one look at a time, and waited for a moment only. What comes later is for the next
    /// handshake.
    pub(super) async fn renew(self: &Arc<Self>) {
        let Ok(seen) = Arc::clone(&self.seen).try_lock_owned() else { return };
        let this = Arc::clone(self);
        let _in_time = timeout(PATIENCE, spawn_blocking(move || this.look(seen))).await;
    }

    fn look(&self, mut seen: OwnedMutexGuard<Changed>) {
        let changed = [&self.certificate, &self.key].map(|path| changed(path));
        if changed == *seen {
            return;
        }
        *seen = changed;
        match read(&self.certificate, &self.key) {
            Ok(certified) => *self.shown() = Arc::new(certified),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, "the renewed client certificate is not used; the former one is");
            }
        }
    }

    fn shown(&self) -> MutexGuard<'_, Arc<CertifiedKey>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, ClientCertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file(certificate)?).collect();
    let Some(chain) = chain.ok().filter(|chain| !chain.is_empty()) else {
        return Err(ClientCertificateError::NoCertificate { path: certificate.to_owned() });
    };
    let Ok(private) = PrivateKeyDer::from_pem_slice(&file(key)?) else {
        return Err(ClientCertificateError::NoKey { path: key.to_owned() });
    };
    let private = any_supported_type(&private).map_err(ClientCertificateError::Unusable)?;
    let certified = CertifiedKey::new(chain, private);
    certified.keys_match().map_err(ClientCertificateError::Unusable)?;
    Ok(certified)
}

fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, ClientCertificateError> {
    let failed = |reason| ClientCertificateError::Unreadable { path: path.to_owned(), reason };
    if path.metadata().map_err(failed)?.len() > LARGEST_FILE {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(failed)
}

impl ResolvesClientCert for ClientCertificate {
    /// Whatever the server hints at: it is the only one that we have.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use rustls_pki_types::ServerName;

    use super::*;
    use crate::http::test_server::{Authority, TestServer, answer, settings};
    use crate::http::{HttpClient, HttpClientSettings, HttpReason, Roots};

    fn write(dir: &Path, (certificate, key): &(String, String), seconds: u64) {
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            let path = dir.join(name);
            fs::write(&path, text).unwrap();
            let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::options().write(true).open(path).unwrap().set_modified(changed).unwrap();
        }
    }

    fn load(dir: &Path) -> Result<Arc<ClientCertificate>, ClientCertificateError> {
        ClientCertificate::from_files(&dir.join("cert.pem"), &dir.join("key.pem"))
    }

    async fn is_let_in(
        server: &TestServer,
        roots: Roots,
        certificate: Option<Arc<ClientCertificate>>,
        name: &'static str,
    ) -> bool {
        refusal(server, roots, certificate, name).await.is_none()
    }

    async fn refusal(
        server: &TestServer,
        roots: Roots,
        certificate: Option<Arc<ClientCertificate>>,
        name: &'static str,
    ) -> Option<HttpReason> {
        let server_name = Some(ServerName::try_from(name).unwrap());
        let settings =
            HttpClientSettings { client_certificate: certificate, server_name, ..settings(roots) };
        let client = HttpClient::https(settings).unwrap();
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("https://{}/", server.address).parse().unwrap();
        client.send(request).await.err().map(|error| error.reason)
    }

    #[tokio::test]
    async fn a_server_that_asks_is_shown_the_certificate_as_its_files_have_it_now() {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let server = TestServer::mutual(&ours, "upstream.test", |_| answer(200, "")).await;
        let is_let_in =
            async |shown, name: &'static str| is_let_in(&server, ours.roots(), shown, name).await;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &theirs.issue("selkie.test"), 1_000);
        let certificate = load(dir.path()).unwrap();
        for (shown, told) in [
            (None, "TLS failed: the server asks for a client certificate"),
            (
                Some(Arc::clone(&certificate)),
                "TLS failed: the server refuses our client certificate",
            ),
        ] {
            let refused = refusal(&server, ours.roots(), shown, "upstream.test").await.unwrap();
            assert_eq!(refused.to_string(), told, "{refused:?}");
        }
        write(dir.path(), &ours.issue("selkie.test"), 2_000);
        assert!(is_let_in(Some(Arc::clone(&certificate)), "upstream.test").await);
        assert!(!is_let_in(Some(Arc::clone(&certificate)), "other.test").await);
        fs::write(dir.path().join("key.pem"), "half a fi").unwrap();
        assert!(is_let_in(Some(certificate), "upstream.test").await, "the former one is shown");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn files_that_do_not_answer_hold_up_no_handshake() {
        let authority = Authority::new();
        let server = TestServer::mutual(&authority, "upstream.test", |_| answer(200, "")).await;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &authority.issue("selkie.test"), 1_000);
        let certificate = load(dir.path()).unwrap();
        // A pipe that nobody writes to: whoever opens it waits, as on a mount that hangs.
        let pipe = dir.path().join("key.pem");
        fs::remove_file(&pipe).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for _ in 0..2 {
            let shown = Some(Arc::clone(&certificate));
            assert!(is_let_in(&server, authority.roots(), shown, "upstream.test").await);
        }
        assert!(certificate.seen.try_lock().is_err(), "control: someone still waits for the file");
        // Lets that thread go, which the end of the runtime waits for.
        fs::write(&pipe, "no key").unwrap();
    }

    #[test]
    fn files_that_make_no_certificate_are_told_apart() {
        use ClientCertificateError as E;
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        assert!(matches!(load(dir.path()), Err(E::Unreadable { .. })));
        let (certificate, key) = authority.issue("a.test");
        write(dir.path(), &(key.clone(), key), 1);
        assert!(matches!(load(dir.path()), Err(E::NoCertificate { .. })));
        write(dir.path(), &(certificate.clone(), certificate.clone()), 1);
        assert!(matches!(load(dir.path()), Err(E::NoKey { .. })));
        write(dir.path(), &(certificate, authority.issue("b.test").1), 1);
        assert!(matches!(load(dir.path()), Err(E::Unusable(_))));
    }

    #[tokio::test]
    async fn a_server_name_in_place_of_the_host_has_to_be_the_certificates() {
        let authority = Authority::new();
        let server = TestServer::tls(&authority, "vault.test", |_| answer(200, "")).await;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("https://{}/", server.address).parse().unwrap();
        let client = HttpClient::https(settings(authority.roots())).unwrap();
        let refused = client.send(request).await.unwrap_err();
        assert!(matches!(refused.reason, HttpReason::Tls(_)));
        assert!(is_let_in(&server, authority.roots(), None, "vault.test").await);
    }
}
