//! JSON with its strings replaced by their hashes.

use std::borrow::Cow;

use selkie_crypto::AuditKey;
use selkie_memory::WipedVec;
use serde::Deserialize;

use super::json::{Object, plain_length, push_hash, push_hash_of};

/// What one member of a line may take; more is left out under its hash, so that nobody writes more to
/// our disk than to us.
pub(super) const MOST_BYTES: usize = 32 << 10;
/// The deepest that data may nest for those who read our lines.
const MOST_LEVELS: u32 = 32;
/// What a member may take where the whole has no room.
const MOST_MEMBER_BYTES: usize = 512;

/// Which strings are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashed {
    /// All, and numbers besides, as in Vault: the data of a request.
    Request,
    /// All: the data of a reply.
    All,
    /// Tokens and accessors: `auth` and `wrap_info`.
    Tokens,
}

const TOKENS: [&str; 4] = ["client_token", "accessor", "token", "wrapped_accessor"];

/// Appends `json`, which a parser has accepted, with its strings hashed.
///
/// Member names stay, as in Vault. What comes to more than [`MOST_BYTES`] or nests too deeply is
/// replaced by `{"left_out_bytes":...,"hash":...}`.
pub(crate) fn push_redacted(json: &str, hashed: Hashed, key: &AuditKey, out: &mut Vec<u8>) {
    push_fitting(json, hashed, key, out, MOST_BYTES);
}

/// The same for what may take no more than `most` bytes.
pub(super) fn push_fitting(
    json: &str,
    hashed: Hashed,
    key: &AuditKey,
    out: &mut Vec<u8>,
    most: usize,
) {
    let start = out.len();
    if push_within(json, hashed, key, out, start.saturating_add(most)).is_some() {
        return;
    }
    out.truncate(start);
    push_left_out(json.as_bytes(), key, out);
}

/// The same for an object about a token. Where it has no room its members are told one by one, the long
/// ones left out: which token somebody got is told always, or no other line is linked to this one.
pub(super) fn push_token(json: &str, key: &AuditKey, out: &mut Vec<u8>, most: usize) {
    let start = out.len();
    if push_within(json, Hashed::Tokens, key, out, start.saturating_add(most)).is_some() {
        return;
    }
    out.truncate(start);
    let mut told = Object::begin(out);
    for (name, value) in members(json) {
        // A token and its accessor are texts; by itself a text is hashed.
        let hashed = if TOKENS.contains(&name) { Hashed::All } else { Hashed::Tokens };
        push_fitting(value, hashed, key, told.member(name), MOST_MEMBER_BYTES);
    }
    told.end();
}

/// What stands for data that is too large to be told.
pub(super) fn push_left_out(data: &[u8], key: &AuditKey, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    add_left_out(data, key, &mut object);
    object.end();
}

pub(super) fn add_left_out(data: &[u8], key: &AuditKey, object: &mut Object<'_>) {
    object.number("left_out_bytes", u64::try_from(data.len()).unwrap_or(u64::MAX));
    push_hash(&key.value_hash(data), object.member("hash"));
}

fn push_within(
    json: &str,
    hashed: Hashed,
    key: &AuditKey,
    out: &mut Vec<u8>,
    most: usize,
) -> Option<()> {
    let (mut rest, mut name, mut level) = (json, "", 0_u32);
    while let Some(byte) = rest.bytes().next() {
        if out.len() > most || level > MOST_LEVELS {
            return None;
        }
        if hashed == Hashed::Request && (byte == b'-' || byte.is_ascii_digit()) {
            let (digits, after) = rest.split_at_checked(number_length(rest))?;
            push_hash(&key.value_hash(digits.as_bytes()), out);
            rest = after;
            continue;
        }
        if byte != b'"' {
            level = match byte {
                b'{' | b'[' => level.saturating_add(1),
                b'}' | b']' => level.saturating_sub(1),
                _ => level,
            };
            if !byte.is_ascii_whitespace() {
                out.push(byte);
            }
            rest = rest.get(1..)?;
            continue;
        }
        let length = quoted_length(rest)?;
        let (quoted, after) = rest.split_at_checked(length)?;
        rest = after.trim_ascii_start();
        if rest.starts_with(':') {
            name = quoted.get(1..length.checked_sub(1)?)?;
            out.extend_from_slice(quoted.as_bytes());
        } else if hashed != Hashed::Tokens || TOKENS.contains(&name) && quoted != "\"\"" {
            push_hash_of(&unquoted(quoted)?, key, out);
        } else {
            out.extend_from_slice(quoted.as_bytes());
        }
    }
    (out.len() <= most).then_some(())
}

/// Of the number that `text` begins with.
fn number_length(text: &str) -> usize {
    let is_part =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

/// Of the string that `text` begins with, its quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1_usize;
    loop {
        at = at.checked_add(plain_length(bytes.get(at..)?))?;
        match bytes.get(at)? {
            b'"' => return at.checked_add(1),
            b'\\' => at = at.checked_add(2)?,
            _ => at = at.checked_add(1)?,
        }
    }
}

/// Of the value that `text` begins with.
fn value_length(text: &str) -> Option<usize> {
    let (mut at, mut level) = (0_usize, 0_u32);
    loop {
        let rest = text.get(at..)?;
        match rest.bytes().next() {
            Some(b'"') => at = at.checked_add(quoted_length(rest)?)?,
            Some(b'{' | b'[') => (at, level) = (at.checked_add(1)?, level.checked_add(1)?),
            Some(b'}' | b']') if level > 0 => (at, level) = (at.checked_add(1)?, level - 1),
            None | Some(b',' | b'}' | b']') if level == 0 => return Some(at),
            None => return None,
            // A number, a word, or what separates within.
            Some(_) => at = at.checked_add(1)?,
        }
    }
}

/// The members of the object `json`, which a serialiser has written, with their values as they stand
/// there.
pub(crate) fn members(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = json;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start().strip_prefix(['{', ','])?.trim_ascii_start();
        let (name, after) = rest.split_at_checked(quoted_length(rest)?)?;
        let after = after.trim_ascii_start().strip_prefix(':')?.trim_ascii_start();
        let (value, after) = after.split_at_checked(value_length(after)?)?;
        rest = after;
        Some((name.get(1..name.len().checked_sub(1)?)?, value.trim_ascii_end()))
    })
}

/// The string as a client means it, which is what `sys/audit-hash` is asked for.
fn unquoted(quoted: &str) -> Option<Secret<'_>> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if !inner.contains('\\') {
        return Some(Secret::Borrowed(inner.as_bytes()));
    }
    #[derive(Deserialize)]
    struct Text<'t>(#[serde(borrow)] Cow<'t, str>);
    let text = match serde_json::from_str::<Text<'_>>(quoted) {
        Ok(Text(text)) => text.into_owned().into_bytes(),
        // Half a surrogate pair, which Go's parser takes and this one does not: as it stands.
        Err(_) => inner.as_bytes().to_vec(),
    };
    Some(Secret::Decoded(WipedVec::new(text)))
}

enum Secret<'t> {
    Borrowed(&'t [u8]),
    Decoded(WipedVec),
}

impl std::ops::Deref for Secret<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(text) => text,
            Self::Decoded(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use base16ct::HexDisplay;
    use serde_json::{Value, json};

    use super::*;

    fn key() -> AuditKey {
        AuditKey::init_with(|page| page.fill(3)).unwrap()
    }

    fn hash(text: &str) -> Value {
        json!(format!("hmac-sha256:{:x}", HexDisplay(&key().value_hash(text.as_bytes()))))
    }

    fn redacted(json: &str, hashed: Hashed) -> Value {
        let mut out = Vec::new();
        push_redacted(json, hashed, &key(), &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn strings_are_hashed_and_names_numbers_and_truths_stay() {
        let json = r#" {"a" : "x", "b":[1, true,null,"y",{"c":"\u0041\n"}], "d\"":"" ,"e":-1.5e3}"#;
        let expected = json!({
            "a": hash("x"),
            "b": [1, true, null, hash("y"), {"c": hash("A\n")}],
            "d\"": hash(""),
            "e": -1500.0,
        });
        assert_eq!(redacted(json, Hashed::All), expected);
    }

    #[test]
    fn the_numbers_of_a_request_are_hashed_by_their_digits() {
        let json = r#"{"a":[-1.5e3,0],"b":true,"1":{"c":12}}"#;
        let expected = json!({
            "a": [hash("-1.5e3"), hash("0")], "b": true, "1": { "c": hash("12") },
        });
        assert_eq!(redacted(json, Hashed::Request), expected);
        assert_eq!(redacted("7", Hashed::Request), hash("7"));
    }

    #[test]
    fn of_an_auth_tokens_and_accessors_are_hashed() {
        let json = r#"{"client_token":"s.x","accessor":"a","policies":["p"],"token":""}"#;
        let expected = json!({
            "client_token": hash("s.x"), "accessor": hash("a"), "policies": ["p"], "token": "",
        });
        assert_eq!(redacted(json, Hashed::Tokens), expected);
    }

    #[test]
    fn members_are_found_with_their_values_as_they_stand() {
        let json = r#"{"a":"x\"}","b":{"c":[1,{"d":"],\\"}]},"e":-1.5,"f":null,"g":[],"h":{}}"#;
        let found: Vec<_> = members(json).collect();
        let (a, b) = (r#""x\"}""#, r#"{"c":[1,{"d":"],\\"}]}"#);
        let expected = [("a", a), ("b", b), ("e", "-1.5"), ("f", "null"), ("g", "[]"), ("h", "{}")];
        assert_eq!(found, expected);
        let spaced: Vec<_> = members(" { \"a\" : [ 1 ] , \"b\" : 2 } ").collect();
        assert_eq!(spaced, [("a", "[ 1 ]"), ("b", "2")]);
        assert_eq!(members("{}").count() + members("").count() + members("[1]").count(), 0);
        for cut in 0..json.len() {
            assert!(members(&json[..cut]).count() <= expected.len(), "it ends, whatever it is");
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_under_its_hash() {
        let many = format!("[{}1]", "\"\",".repeat(100_000));
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for json in [many, deep] {
            let told = json!({ "left_out_bytes": json.len(), "hash": hash(&json) });
            assert_eq!(redacted(&json, Hashed::All), told);
        }
    }
}
