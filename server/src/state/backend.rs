//! From the `storage` stanza to the raw store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selkie_config::{EtcdCertificate, EtcdStorage, Storage};
use selkie_crypto::sha256;
use selkie_storage::{
    EtcdError, EtcdIdentity, EtcdLogin, EtcdSettings, EtcdStore, MemoryStore, SledError,
    SledSettings, SledStore, Store, StoreError,
};
use zeroize::Zeroizing;

use super::opening::FORMAT_PLACE;
use super::others::Nested;

/// Why there is no raw store.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The backend says why.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stanza cannot be made a client of etcd.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// Another deployment keeps its state around the place of this one, which it would damage.
    #[error(transparent)]
    Nested(#[from] Nested),
    /// A file that the stanza names cannot be read.
    #[error("{}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl BackendError {
    /// Whether another process has the directory of the store open.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let Self::Store(StoreError::Unavailable { source }) = self else { return false };
        matches!(source.downcast_ref(), Some(SledError::InUse { .. }))
    }

    /// Whether what lies in the directory of the store is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let Self::Store(StoreError::Corrupt { source, .. }) = self else { return false };
        matches!(source.downcast_ref(), Some(SledError::Damaged | SledError::Disagree { .. }))
    }
}

/// Opens the raw store that `storage` names, to serve what is in it or to begin a state. Others that
/// lie inside it show when it is read; in the place of another none is begun. One that is there
/// already opens: it does no harm to itself, and those that it serves need it.
///
/// # Errors
///
/// [`BackendError`].
pub async fn open(storage: &Storage) -> Result<Arc<dyn Store>, BackendError> {
    let Storage::Etcd(etcd) = storage else { return open_to_leave(storage).await };
    let store = EtcdStore::connect(etcd_settings(etcd)?)?;
    let Some(nested) = nested(&store, etcd).await? else { return Ok(Arc::new(store)) };
    if store.get(&super::opening::place(FORMAT_PLACE)?).await?.is_none() {
        return Err(nested.into());
    }
    tracing::error!(
        advice = nested.advice(),
        "the storage lies inside that of another deployment, which cannot open its own"
    );
    Ok(Arc::new(store))
}

/// As [`open`], to be filled by a copy: never inside the place of another.
///
/// # Errors
///
/// [`BackendError`].
pub async fn open_to_fill(storage: &Storage) -> Result<Arc<dyn Store>, BackendError> {
    let Storage::Etcd(etcd) = storage else { return open_to_leave(storage).await };
    let store = EtcdStore::connect(etcd_settings(etcd)?)?;
    match nested(&store, etcd).await? {
        Some(nested) => Err(nested.into()),
        None => Ok(Arc::new(store)),
    }
}

async fn nested(store: &EtcdStore, etcd: &EtcdStorage) -> Result<Option<Nested>, StoreError> {
    let outer = store.enclosing(&super::opening::place(FORMAT_PLACE)?).await?;
    Ok(outer.map(|outer| Nested { outer, inner: etcd.prefix.clone() }))
}

/// As [`open`], to copy its records to another one: also where no store should be.
///
/// # Errors
///
/// [`BackendError`].
pub async fn open_to_leave(storage: &Storage) -> Result<Arc<dyn Store>, BackendError> {
    match storage {
        Storage::InMemory => Ok(Arc::new(MemoryStore::new())),
        Storage::Sled(sled) => {
            let settings = SledSettings::new(sled.path.clone());
            Ok(Arc::new(SledStore::open(settings).await.map_err(StoreError::from)?))
        }
        Storage::Etcd(etcd) => Ok(Arc::new(EtcdStore::connect(etcd_settings(etcd)?)?)),
    }
}

/// What tells the credentials for `storage` from others: certificates, key and password, which are
/// read when the store is opened and not again. `None` where there are none.
///
/// # Errors
///
/// [`BackendError::File`].
pub(crate) fn credentials_of(storage: &Storage) -> Result<Option<[u8; 32]>, BackendError> {
    let Storage::Etcd(etcd) = storage else { return Ok(None) };
    let EtcdSettings { ca_pem, identity, credentials, .. } = etcd_settings(etcd)?;
    let parts = [
        ca_pem.as_deref(),
        identity.as_ref().map(|own| &*own.certificate_pem),
        identity.as_ref().map(|own| &**own.key_pem),
        credentials.as_ref().map(|login| login.password.as_bytes()),
    ];
    let digests = parts.map(|part| part.map_or([0; 32], sha256));
    Ok(parts.iter().any(Option::is_some).then(|| sha256(digests.as_flattened())))
}

fn etcd_settings(etcd: &EtcdStorage) -> Result<EtcdSettings, BackendError> {
    let login = |one: &selkie_config::EtcdCredentials| EtcdLogin {
        username: one.username.clone(),
        password: one.password.clone(),
    };
    Ok(EtcdSettings {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        ca_pem: etcd.ca_file.as_deref().map(read).transpose()?,
        identity: etcd.client_certificate.as_ref().map(identity).transpose()?,
        credentials: etcd.credentials.as_ref().map(login),
        request_timeout: etcd.request_timeout,
    })
}

fn identity(files: &EtcdCertificate) -> Result<EtcdIdentity, BackendError> {
    Ok(EtcdIdentity {
        certificate_pem: read(&files.cert_file)?,
        key_pem: Zeroizing::new(read(&files.key_file)?),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, BackendError> {
    std::fs::read(path).map_err(|source| BackendError::File { path: path.to_owned(), source })
}
