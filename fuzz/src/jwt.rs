use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie::auth::jwt::{Algorithm, Claims, Compact, Expected, Leeways, VerificationKey};
use serde_json::Value;

use crate::second_parser::{is_beyond, is_plain};

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
/// it; one that is believed is a genuine one in all that its signature covers; and of a set those keys
/// are taken that a second parser sees, of which the genuine keys alone verify genuine tokens.
pub fn jwt(data: &[u8]) -> bool {
    let changed = changed(data);
    agrees_on_keys(data, |data| VerificationKey::from_set(data).ok())
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

const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// That what `read` makes of a key set is what a second parser sees in it, key by key: none is lost,
/// none is added, and each verifies a genuine token if and only if it is that token's key.
pub(crate) fn agrees_on_keys(
    data: &[u8],
    read: impl Fn(&[u8]) -> Option<Vec<VerificationKey>>,
) -> bool {
    let keys = read(data);
    if is_beyond(data) {
        return keys.is_some();
    }
    let json: Value = serde_json::from_slice(data).unwrap_or_default();
    let Some(keys) = keys else {
        let is_set = json.is_object() && json["keys"].is_array();
        assert!(!is_set || !is_plain(data, &json), "a key set was refused");
        return false;
    };
    assert!(json.is_object(), "no key set was accepted");
    let listed = json["keys"].as_array().expect("accepted, so a list");
    let usable: Vec<&Value> = listed.iter().filter(|one| is_usable(one)).take(64).collect();
    let named: Vec<_> = usable.iter().map(|one| one["kid"].as_str()).collect();
    let read: Vec<_> = keys.iter().map(VerificationKey::id).collect();
    assert_eq!(read, named, "other keys than those that are listed");
    for (key, jwk) in keys.iter().zip(usable) {
        TOKENS.iter().for_each(|token| is_verified_by_its_key(token, key, jwk));
    }
    !keys.is_empty()
}

/// What RFC 7517 lets us use for signatures.
fn is_usable(jwk: &Value) -> bool {
    let member = |name: &str| jwk.get(name).filter(|one| !one.is_null());
    let text = |name: &str| member(name).and_then(Value::as_str);
    let names = ["use", "alg", "kid", "crv", "n", "e", "x", "y"];
    let are_texts = names.iter().all(|name| member(name).is_none_or(Value::is_string));
    let is_for_signing = text("use").is_none_or(|what| what == "sig")
        && text("alg").is_none_or(|alg| ALGORITHMS.contains(&alg));
    let has = |name: &str| text(name).is_some_and(|text| URL_SAFE_NO_PAD.decode(text).is_ok());
    let has_material = match (jwk["kty"].as_str(), text("crv")) {
        (Some("RSA"), _) => has("n") && has("e"),
        (Some("EC"), Some("P-256" | "P-384")) => has("x") && has("y"),
        (Some("OKP"), Some("Ed25519")) => has("x"),
        _ => false,
    };
    jwk.is_object() && are_texts && is_for_signing && has_material
}

fn is_verified_by_its_key(token: &str, key: &VerificationKey, jwk: &Value) {
    let genuine: Value = serde_json::from_slice(SET).expect("genuine");
    let parsed = Compact::parse(token).expect("genuine");
    let (of_algorithm, members): (usize, &[&str]) = match parsed.algorithm {
        Algorithm::ES256 => (0, &["crv", "x", "y"]),
        Algorithm::RS256 => (1, &["n", "e"]),
        _ => (2, &["crv", "x"]),
    };
    let wanted = &genuine["keys"][of_algorithm];
    let is_named = jwk["kid"].as_str().is_none_or(|kid| Some(kid) == parsed.key_id.as_deref())
        || parsed.key_id.is_none();
    let is_allowed = jwk["alg"].as_str().is_none_or(|alg| alg == parsed.algorithm.name());
    let may = is_named && is_allowed && jwk["kty"] == wanted["kty"];
    let is_verified = parsed.check_signature(&[], std::slice::from_ref(key)).is_ok();
    if may && members.iter().all(|name| jwk[*name] == wanted[*name]) {
        assert!(is_verified, "the genuine key did not verify {token}");
    }
    let is_same = members.iter().all(|name| number(&jwk[*name]) == number(&wanted[*name]));
    assert!(!is_verified || (may && is_same), "another key verified {token}");
}

/// Without the zeros before it; a name as it is.
fn number(member: &Value) -> Option<Vec<u8>> {
    let text = member.as_str()?;
    match URL_SAFE_NO_PAD.decode(text) {
        Ok(bytes) => Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect()),
        Err(_) => Some(text.as_bytes().to_vec()),
    }
}
