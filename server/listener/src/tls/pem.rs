//! Reads certificates, keys and revocation lists. A chain and a key that do not belong together are
//! refused here, not at the first handshake.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use rustls::{
    Error, RootCertStore, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject,
};
use selkie_certificate::{Fingerprint, Listed, RevocationFacts};
use zeroize::{Zeroize, Zeroizing};

use super::TlsError;

const LARGEST_FILE: u64 = 1024 * 1024;

/// Lists of large CAs have several megabytes.
const LARGEST_REVOCATION_LIST: u64 = 32 * 1024 * 1024;

/// A certificate revocation list.
#[derive(Debug)]
pub(super) struct RevocationList {
    pub(super) der: CertificateRevocationListDer<'static>,
    pub(super) facts: RevocationFacts,
    pub(super) file: PathBuf,
}

/// A certificate chain and its private key, known to belong together.
#[derive(Debug)]
pub(super) struct Identity(CertifiedKey);

impl Identity {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = load_certificates(certificate)?;
        Self::check(certificate, chain, key, load_key(key)?)
    }

    pub(super) fn check(
        certificate: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: &Path,
        mut der: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let signing = any_supported_type(&der);
        der.zeroize();
        let Ok(signing) = signing else {
            return Err(TlsError::UnsupportedKey { file: key.to_owned() });
        };
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Ok(Self(certified)),
            Err(Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch {
                key: key.to_owned(),
                certificate: certificate.to_owned(),
            }),
            Err(source) => Err(TlsError::Certificate { file: certificate.to_owned(), source }),
        }
    }

    pub(super) fn into_certified(self) -> CertifiedKey {
        self.0
    }
}

/// The certificates by which those of clients are good.
#[derive(Debug)]
pub(super) struct Trusted {
    /// Those that may issue others.
    pub(super) authorities: RootCertStore,
    /// Those that may not, each good for itself alone.
    pub(super) leaves: Vec<CertificateDer<'static>>,
    /// The same as their own issuers.
    pub(super) own_issuers: RootCertStore,
}

/// What client certificates are to be issued under, or to be.
pub(super) fn load_trusted(file: &Path) -> Result<Trusted, TlsError> {
    let certificates = load_certificates(file)?;
    certificates.iter().for_each(|certificate| tell_what_is_odd(file, certificate));
    trusted(file, certificates)
}

/// The same, of certificates at hand; `file` is where they are from.
pub(super) fn trusted(
    file: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Trusted, TlsError> {
    let may_issue = |one: &CertificateDer<'_>| Listed::read(one).is_ok_and(Listed::may_issue);
    let (authorities, leaves): (Vec<_>, Vec<_>) = certificates.into_iter().partition(may_issue);
    let store = |certificates: &[CertificateDer<'static>]| {
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            store
                .add(certificate.clone())
                .map_err(|source| TlsError::Certificate { file: file.to_owned(), source })?;
        }
        Ok(store)
    };
    Ok(Trusted { authorities: store(&authorities)?, own_issuers: store(&leaves)?, leaves })
}

/// What does other than whoever listed it may think.
fn tell_what_is_odd(file: &Path, certificate: &CertificateDer<'_>) {
    let (file, certificate_sha256) = (file.display(), Fingerprint::of(certificate));
    match Listed::read(certificate) {
        Ok(Listed::FirstVersion) => tracing::warn!(
            %file,
            %certificate_sha256,
            "a certificate of X.509's first version is listed: it counts as an authority, so whoever has \
             its key can issue certificates with any names; a client cannot show it itself"
        ),
        Ok(Listed::Issued) => tracing::warn!(
            %file,
            %certificate_sha256,
            "a certificate is listed that is no authority (CA:TRUE) and not self-signed: it lets nobody \
             in; list the authority that issued it"
        ),
        Ok(Listed::Authority | Listed::SelfIssued) | Err(_) => {}
    }
}

fn load_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file, LARGEST_FILE)?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| TlsError::CertificatePem { file: file.to_owned(), reason })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { file: file.to_owned() });
    }
    Ok(certificates)
}

/// Not covered: the copies that the PEM reader makes and frees; the program's zeroizing allocator
/// wipes those.
fn load_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(file, LARGEST_FILE)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&text) => Err(TlsError::EncryptedKey { file: file.to_owned() }),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { file: file.to_owned() }),
        Err(_) => Err(TlsError::KeyPem { file: file.to_owned() }),
    }
}

/// As PKCS#8 is by its label, and older forms by a header.
fn is_encrypted(text: &[u8]) -> bool {
    let marks = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    marks.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark))
}

/// All lists in `paths`: files, and directories of files.
pub(super) fn load_revocation_lists(paths: &[PathBuf]) -> Result<Vec<RevocationList>, TlsError> {
    let mut lists = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in list_files(path)? {
                load_revocation_list(&file, &mut lists)?;
            }
        } else {
            load_revocation_list(path, &mut lists)?;
        }
    }
    Ok(lists)
}

/// The files of a directory that are lists by their names, in order; an empty one is a mistake.
fn list_files(directory: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let failed = |source| TlsError::Read { file: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in directory.read_dir().map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_list = file.extension().is_some_and(|end| end == "crl" || end == "pem");
        if is_list && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(TlsError::NoRevocationList { file: directory.to_owned() });
    }
    Ok(files)
}

/// PEM, or DER, which begins with the tag of a sequence as no PEM does.
fn load_revocation_list(file: &Path, lists: &mut Vec<RevocationList>) -> Result<(), TlsError> {
    let content = read(file, LARGEST_REVOCATION_LIST)?;
    let ders = if content.first() == Some(&SEQUENCE) {
        vec![CertificateRevocationListDer::from(content.to_vec())]
    } else {
        CertificateRevocationListDer::pem_slice_iter(&content)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| TlsError::CertificatePem { file: file.to_owned(), reason })?
    };
    if ders.is_empty() {
        return Err(TlsError::NoRevocationList { file: file.to_owned() });
    }
    for der in ders {
        let facts = RevocationFacts::read(&der);
        let unusable = |source| TlsError::RevocationList { file: file.to_owned(), source };
        let facts = facts.map_err(unusable)?;
        lists.push(RevocationList { facts, der, file: file.to_owned() });
    }
    Ok(())
}

const SEQUENCE: u8 = 0x30;

/// The content of a DER sequence, which is how webpki keeps the names of CAs.
pub(super) fn inside_sequence(der: &[u8]) -> Option<&[u8]> {
    let (first, rest) = der.strip_prefix(&[SEQUENCE])?.split_first()?;
    let length_bytes = if *first < 0x80 { 0 } else { usize::from(first & 0x7f) };
    rest.get(length_bytes..)
}

fn read(path: &Path, largest: u64) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { file: PathBuf::from(path), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let Some(capacity) = usize::try_from(length).ok().filter(|_| length <= largest) else {
        return Err(TlsError::TooLarge { file: path.to_owned() });
    };
    // With room for one byte more the end is seen without growing, and so without leaving a copy
    // behind. A file that is being written meanwhile is cut here and then does not parse.
    let mut content = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(1)));
    file.take(length).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}
