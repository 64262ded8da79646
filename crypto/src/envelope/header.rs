use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::KeyVersion;
use crate::base64::{decode_url, decode_url_array, encode_url};

/// What an envelope is for; one made for one purpose opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A client's ciphertext.
    Client,
    /// A record of our own state.
    State,
    /// A backup file.
    Backup,
}

/// What an envelope is bound to; integrity-protected and checked before any KMS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// The deployment's declared name.
    pub realm: Cow<'a, str>,
    /// The mount path of the transit key, without slashes at its ends.
    pub mount: Cow<'a, str>,
    /// The name of the transit key.
    pub key: Cow<'a, str>,
    /// The version of the transit key, as in the text form outside.
    pub version: KeyVersion,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
}

const FORMAT: u32 = 1;
const ENC: &str = "A256GCM";
/// Longer than any header that names of legal length can make.
const LONGEST_PROTECTED: usize = 8192;

/// The JWE protected header; the order of the members is their order on the wire.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Protected<'a> {
    #[serde(borrow)]
    enc: Cow<'a, str>,
    #[serde(borrow)]
    selkie: Selkie<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selkie<'a> {
    #[serde(borrow)]
    commitment: Cow<'a, str>,
    created: u64,
    format: u32,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    mount: Cow<'a, str>,
    purpose: Purpose,
    #[serde(borrow)]
    realm: Cow<'a, str>,
    version: u32,
}

/// The JWE member `protected`: base64url of the header's JSON.
pub(super) fn print(header: &Header<'_>, commitment: &[u8; 32]) -> String {
    let selkie = Selkie {
        commitment: encode_url(commitment).into(),
        created: header.created,
        format: FORMAT,
        key: Cow::Borrowed(&header.key),
        mount: Cow::Borrowed(&header.mount),
        purpose: header.purpose,
        realm: Cow::Borrowed(&header.realm),
        version: header.version.get(),
    };
    let protected = Protected { enc: ENC.into(), selkie };
    // Invariant: strings and numbers always serialise.
    encode_url(&serde_json::to_vec(&protected).unwrap_or_default())
}

/// The inverse of [`print`]; `None` for anything that `print` does not write.
pub(super) fn parse(protected: &str) -> Option<(Header<'static>, [u8; 32])> {
    if protected.len() > LONGEST_PROTECTED {
        return None;
    }
    let json = decode_url(protected).ok()?;
    let parsed: Protected<'_> = serde_json::from_slice(&json).ok()?;
    let canonical = serde_json::to_vec(&parsed).ok()?;
    let selkie = parsed.selkie;
    if canonical != json || parsed.enc != ENC || selkie.format != FORMAT {
        return None;
    }
    let header = Header {
        purpose: selkie.purpose,
        realm: selkie.realm.into_owned().into(),
        mount: selkie.mount.into_owned().into(),
        key: selkie.key.into_owned().into(),
        version: KeyVersion::new(selkie.version)?,
        created: selkie.created,
    };
    let commitment = decode_url_array(&selkie.commitment).ok()?;
    Some((header, commitment))
}
