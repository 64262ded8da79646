use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use selkie::auth::jwt::{Algorithm, Claims, Compact, Expected, Leeways, VerificationKey};
use serde_json::Value;

use crate::second_parser::is_beyond;

/// A provider's keys and a token by each, made by Python's `cryptography`.
const SET: &[u8] = include_bytes!("../genuine/jwks.json");
pub(crate) const TOKENS: [&str; 3] = [
    include_str!("../genuine/ES256.jwt"),
    include_str!("../genuine/RS256.jwt"),
    include_str!("../genuine/EdDSA.jwt"),
];
const NOW: u64 = 1_767_225_600;

static KEYS: LazyLock<Vec<VerificationKey>> =
    LazyLock::new(|| VerificationKey::from_set(SET).expect("a set"));

/// Feeds the bytes to the readers of tokens and of key sets, and takes them for changes of a genuine
/// token: the first byte chooses it and the part; then follow three bytes for each change, where and
/// what.
///
/// A token that is taken apart says what a second JSON parser and the library `jsonwebtoken` see in
/// it; one that is believed is a genuine one in all that its signature covers; and a set has no key
/// that verifies a genuine token but the genuine keys.
pub fn jwt(data: &[u8]) -> bool {
    let changed = changed(data);
    key_set(data)
        | believes_only_genuine(&changed, verified)
        | str::from_utf8(data).is_ok_and(|text| believes_only_genuine(text, verified))
}

pub(crate) fn verified(token: &str) -> Option<Claims> {
    let audiences = ["selkie".to_owned()];
    let expected = Expected {
        algorithms: &[],
        issuers: &[],
        subject: None,
        audiences: &audiences,
        leeways: Leeways::default(),
    };
    Compact::parse(token).ok()?.verify(&KEYS, &expected, NOW).ok()
}

pub(crate) fn believes_only_genuine(token: &str, verify: fn(&str) -> Option<Claims>) -> bool {
    let is_parsed = is_taken_apart(token);
    let claims = verify(token);
    let Some(claims) = claims else {
        assert!(!TOKENS.contains(&token), "a genuine token was refused");
        return false;
    };
    assert!(is_parsed);
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    let is_genuine =
        TOKENS.iter().any(|one| one.rsplit_once('.').is_some_and(|(one, _)| one == signed));
    assert!(is_genuine, "a forged token was believed: {token}");
    assert_eq!(claims.text("sub"), Some("seal"));
    true
}

fn is_taken_apart(token: &str) -> bool {
    let Ok(parsed) = Compact::parse(token) else { return false };
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("taken apart, so base64url");
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    if is_beyond(&header) || is_beyond(&claims) {
        return true;
    }
    let json =
        |text: &[u8]| -> Value { serde_json::from_slice(text).expect("taken apart, so JSON") };
    let (header, claims) = (json(&header), json(&claims));
    assert!(header.is_object() && claims.is_object());
    assert_eq!(header["alg"], parsed.algorithm.name());
    assert_eq!(header.get("kid").and_then(Value::as_str), parsed.key_id.as_deref());
    assert!(header.get("crit").is_none(), "an extension was ignored");
    for (claim, value) in claims.as_object().expect("checked") {
        assert_eq!(parsed.unproven(claim), Some(value));
    }
    // It wants members to be of types that do not matter here.
    if let Ok(theirs) = jsonwebtoken::decode_header(token) {
        assert_eq!(format!("{:?}", theirs.alg), parsed.algorithm.name());
        assert_eq!(theirs.kid, parsed.key_id);
    }
    true
}

fn changed(data: &[u8]) -> String {
    let Some((choice, changes)) = data.split_first() else { return String::new() };
    let token = TOKENS[usize::from(choice % 3)];
    let mut parts: Vec<Vec<u8>> =
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("genuine")).collect();
    let part = &mut parts[usize::from(choice / 3 % 3)];
    for [kind, at, by] in changes.as_chunks().0.iter().take(32) {
        let at = usize::from(*at) % (part.len() + 1);
        match (kind % 3, part.get_mut(at)) {
            (0, Some(byte)) => *byte ^= by,
            (1, Some(_)) => drop(part.remove(at)),
            _ => part.insert(at, *by),
        }
    }
    let parts: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
    parts.join(".")
}

fn key_set(data: &[u8]) -> bool {
    let Ok(keys) = VerificationKey::from_set(data) else { return false };
    if is_beyond(data) {
        return true;
    }
    let json: Value = serde_json::from_slice(data).expect("accepted, so JSON");
    let listed = json["keys"].as_array().expect("accepted, so a list");
    assert!(keys.len() <= listed.len().min(64));
    for key in &keys {
        let named = |one: &&Value| one["kid"].as_str() == key.id();
        assert!(listed.iter().any(|one| named(&one)), "a key that is not listed");
    }
    // What the library refuses as a whole may hold keys that we take; not the other way round.
    if let Ok(theirs) = serde_json::from_slice::<JwkSet>(data) {
        assert!(theirs.keys.len() <= listed.len());
    }
    let genuine: Value = serde_json::from_slice(SET).expect("genuine");
    let member = |one: &Value, name: &str| one[name].as_str().map(str::to_owned);
    for token in TOKENS {
        let parsed = Compact::parse(token).expect("genuine");
        if parsed.check_signature(&[], &keys).is_ok() {
            let of_algorithm = match parsed.algorithm {
                Algorithm::ES256 => 0,
                Algorithm::RS256 => 1,
                _ => 2,
            };
            let wanted = &genuine["keys"][of_algorithm];
            let same = |one: &Value| {
                ["n", "x", "y"]
                    .iter()
                    .all(|name| number(&member(one, name)) == number(&member(wanted, name)))
            };
            assert!(listed.iter().any(same), "another key verified {token}");
        }
    }
    !keys.is_empty()
}

/// Without the zeros before it.
fn number(text: &Option<String>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}
