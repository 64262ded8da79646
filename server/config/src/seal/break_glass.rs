//! `seal "break-glass"`: the public half of a key whose private half is kept away from all servers.

use std::path::{Path, PathBuf};

use selkie_crypto::{EcPrivateKey, KekId, PublicKey, base64, sha256};
use selkie_hcl::{Located, Section};

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
    /// break-glass serve` has it.
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
        let fingerprint = sha256(public_key.spki_der());
        let hex: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        KekId::new(&format!("sha256:{hex}")).ok()
    }
}

pub(super) fn refuse_priority(section: &mut Section<'_>) {
    section.refuse("priority", || BreakGlassError::Priority);
}

pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<BreakGlassSeal> {
    let text = section.field("public_key").required().string()?;
    let decoded = text.try_map(|text| public_key(&text, reading));
    let Located { value: public_key, place } = decoded?;
    // The id has one form, so this reports nothing.
    let kek = Located { value: (), place }
        .try_map(|()| BreakGlassSeal::kek_of(&public_key).ok_or(BreakGlassError::NotAKey))?;
    Some(BreakGlassSeal { public_key, kek: kek.value, private_key: None })
}

fn public_key(text: &str, reading: &Reading<'_>) -> Result<PublicKey, BreakGlassError> {
    let path = text.strip_prefix("file://").unwrap_or(text);
    if !path.starts_with('/') {
        return parse(text)?.ok_or(BreakGlassError::NotAKey);
    }
    let path = Path::new(path);
    if reading.sources.are_placeholders() {
        return PublicKey::from_spki_der(&stand_in()).map_err(|_none| BreakGlassError::NotAKey);
    }
    let file = |error| BreakGlassError::File { path: path.to_owned(), error };
    let pem = reading.sources.text_file(path).map_err(file)?;
    parse(&pem)?.ok_or_else(|| BreakGlassError::NoKeyInFile { path: path.to_owned() })
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
    Ok(der.and_then(|der| PublicKey::from_spki_der(der.expose_for_reply()).ok()))
}

/// The P-256 key whose private half is 1, in place of a file that may be gone by now.
fn stand_in() -> Vec<u8> {
    const TEXT: &[u8] = b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5\
                          RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";
    base64::decode_secret(TEXT).map(|der| der.expose_for_reply().to_vec()).unwrap_or_default()
}
