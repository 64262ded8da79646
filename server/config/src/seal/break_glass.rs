//! `seal "break-glass"`: the public half of a key whose private half is kept away from all servers.

use std::path::{Path, PathBuf};

use selkie_crypto::{EcPrivateKey, KekId, PublicKey, base64, sha256};
use selkie_hcl::Section;

use crate::secret::Reading;
use crate::sources::SourceError;

/// A recipient that only a person opens: every envelope is made for it too, and no server asks it.
#[derive(Debug)]
pub struct BreakGlassSeal {
    /// What is wrapped under.
    pub public_key: PublicKey,
    /// The key's id in an envelope: [`BreakGlassSeal::kek_of`] its public half.
    pub kek: KekId,
    /// The private half, which no configuration file can bring near a server: only `selkie
    /// break-glass serve` and `selkie restore --key` have it.
    pub private_key: Option<Box<EcPrivateKey>>,
}

/// What is wrong with the public key.
#[derive(Debug, thiserror::Error)]
enum BreakGlassError {
    #[error(
        "field \"public_key\": expected the line that \"selkie break-glass keygen\" prints, a PEM \
         block that begins with \"-----BEGIN PUBLIC KEY-----\", or the absolute path of a file \
         with one"
    )]
    NotAKey,
    #[error(
        "field \"public_key\": this is a private key: it must never come near a server; replace \
         the pair"
    )]
    Private,
    #[error("field \"public_key\": file {path:?} {error}")]
    File { path: PathBuf, error: SourceError },
    #[error("field \"public_key\": file {path:?} holds no public key in PEM")]
    NoKeyInFile { path: PathBuf },
    #[error(
        "\"priority\" has no meaning in a break-glass seal: no server asks it for anything; remove it"
    )]
    Priority,
}

impl BreakGlassSeal {
    /// `sha256:` and the fingerprint of the key (SHA-256 of its SubjectPublicKeyInfo, hexadecimal).
    #[must_use]
    pub fn kek_of(public_key: &PublicKey) -> Option<KekId> {
        let hex = base16ct::lower::encode_string(&sha256(public_key.spki_der()));
        KekId::new(&format!("sha256:{hex}")).ok()
    }
}

pub(super) fn refuse_priority(section: &mut Section<'_>) {
    section.refuse("priority", || BreakGlassError::Priority);
}

/// `None` if it was reported to be wrong, or was not read.
pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<BreakGlassSeal> {
    let text = section.field("public_key").required().string()?;
    text.try_map(|text| seal(&text, reading))?.value
}

fn seal(text: &str, reading: &Reading<'_>) -> Result<Option<BreakGlassSeal>, BreakGlassError> {
    let path = text.strip_prefix("file://").unwrap_or(text);
    if !path.starts_with('/') {
        return of_key(parse(text)?.ok_or(BreakGlassError::NotAKey)?).map(Some);
    }
    let path = Path::new(path);
    match reading.sources.text_file(path) {
        Err(_missing) if reading.passes_over_missing_keys() => Ok(None),
        Err(error) => Err(BreakGlassError::File { path: path.to_owned(), error }),
        // What stands in for a file holds no key to wrap under.
        Ok(_) if reading.stands_in_for_files() => Ok(None),
        Ok(pem) => {
            let no_key = || BreakGlassError::NoKeyInFile { path: path.to_owned() };
            of_key(parse(&pem)?.ok_or_else(no_key)?).map(Some)
        }
    }
}

fn of_key(public_key: PublicKey) -> Result<BreakGlassSeal, BreakGlassError> {
    let kek = BreakGlassSeal::kek_of(&public_key).ok_or(BreakGlassError::NotAKey)?;
    Ok(BreakGlassSeal { public_key, kek, private_key: None })
}

/// The key in PEM, or in the base64 of its DER on one line.
fn parse(text: &str) -> Result<Option<PublicKey>, BreakGlassError> {
    if text.contains("PRIVATE KEY-") {
        return Err(BreakGlassError::Private);
    }
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        return Ok(PublicKey::from_pem(text).ok());
    }
    let der = base64::decode_secret(text.as_bytes()).ok();
    Ok(der.and_then(|der| PublicKey::from_spki_der(der.expose_for_own_use()).ok()))
}
