//! What an envelope says of itself under integrity protection; all of it is compared with the
//! request before a KMS is asked.

use std::borrow::Cow;
use std::io::Write as _;

use super::cursor::Cursor;
use crate::KeyVersion;
use crate::base64::{decode_url, decode_url_array, encode_public_url, push_url};

/// What an envelope is for; one made for one purpose opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client's ciphertext.
    Client,
    /// A record of our own state.
    State,
    /// A backup file.
    Backup,
}

impl Purpose {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Client, Self::State, Self::Backup].into_iter().find(|one| one.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::State => "state",
            Self::Backup => "backup",
        }
    }
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
const QUORUM: &str = r#","quorum":"#;
/// Room for what stands in every header beside its names.
const FIXED_BYTES: usize = 256;
/// Longer than any header that names of legal length can make.
const LONGEST_PROTECTED: usize = 8192;

/// All that the protected header says.
pub(super) struct Protected<'a> {
    pub(super) header: Cow<'a, Header<'a>>,
    /// How many recipients must be unwrapped; it stands there only if it is not 1.
    pub(super) needed: u8,
    pub(super) commitment: [u8; 32],
}

/// The JWE member `protected`: base64url of the header's JSON.
pub(super) fn print(protected: &Protected<'_>) -> Vec<u8> {
    encode_public_url(&print_json(protected))
}

/// The header's one spelling, its members in alphabetical order.
fn print_json(Protected { header, needed, commitment }: &Protected<'_>) -> Vec<u8> {
    let Header { purpose, realm, mount, key, version, created } = &**header;
    let names = [realm, mount, key].into_iter().map(|name| name.len());
    let mut json = Vec::with_capacity(names.fold(FIXED_BYTES, usize::saturating_add));
    json.extend_from_slice(br#"{"enc":""#);
    json.extend_from_slice(ENC.as_bytes());
    json.extend_from_slice(br#"","selkie":{"commitment":""#);
    push_url(commitment, &mut json);
    // Writing into a vector cannot fail.
    let _ = write!(json, r#"","created":{created},"format":{FORMAT},"key":"#);
    push_quoted(key, &mut json);
    json.extend_from_slice(br#","mount":"#);
    push_quoted(mount, &mut json);
    json.extend_from_slice(br#","purpose":""#);
    json.extend_from_slice(purpose.name().as_bytes());
    json.push(b'"');
    if *needed != 1 {
        let _ = write!(json, "{QUORUM}{needed}");
    }
    json.extend_from_slice(br#","realm":"#);
    push_quoted(realm, &mut json);
    let _ = write!(json, r#","version":{}}}}}"#, version.get());
    json
}

/// Appends `text` as a JSON string.
///
/// Invariant: text always serialises; were it ever otherwise, no parser would take the result.
fn push_quoted(text: &str, json: &mut Vec<u8>) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        json.extend_from_slice(&serde_json::to_vec(text).unwrap_or_default());
        return;
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// The inverse of [`print`]; `None` for anything that `print` does not write.
pub(super) fn parse(protected: &str) -> Option<Protected<'static>> {
    if protected.len() > LONGEST_PROTECTED {
        return None;
    }
    let json = String::from_utf8(decode_url(protected).ok()?).ok()?;
    let mut cursor = Cursor::new(&json);
    let enc = cursor.value(r#"{"enc":""#)?;
    let commitment = decode_url_array(cursor.value(r#","selkie":{"commitment":""#)?).ok()?;
    let created = cursor.number(r#","created":"#)?;
    let format = cursor.number(r#","format":"#)?;
    let key = cursor.json_string(r#","key":"#)?.into_owned().into();
    let mount = cursor.json_string(r#","mount":"#)?.into_owned().into();
    let purpose = Purpose::from_name(cursor.value(r#","purpose":""#)?)?;
    let needed = parse_needed(&mut cursor)?;
    let realm = cursor.json_string(r#","realm":"#)?.into_owned().into();
    let version = u32::try_from(cursor.number(r#","version":"#)?).ok()?;
    cursor.literal("}}")?;
    if enc != ENC || format != u64::from(FORMAT) || !cursor.is_at_end() {
        return None;
    }
    let version = KeyVersion::new(version)?;
    let header = Header { purpose, realm, mount, key, version, created };
    Some(Protected { header: Cow::Owned(header), needed, commitment })
}

/// How many are needed; that it is one is not said.
fn parse_needed(cursor: &mut Cursor<'_>) -> Option<u8> {
    if !cursor.rest().starts_with(QUORUM) {
        return Some(1);
    }
    let needed = u8::try_from(cursor.number(QUORUM)?).ok()?;
    (needed > 1).then_some(needed)
}
