//! Tokens that are not believed, each for one reason.

mod fetched;
mod method;
pub(crate) mod signer;
mod vectors;
pub(crate) mod world;

use serde_json::{Value, json};

use self::signer::{NOW, Signer};
use super::*;

const ISSUER: &str = "https://id.example";

fn good() -> Value {
    json!({ "iss": ISSUER, "sub": "seal", "aud": ["selkie"], "exp": NOW + 300, "iat": NOW })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = good();
    claims[claim] = value;
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(claim);
    claims
}

fn verify_with(
    token: &str,
    keys: &[VerificationKey],
    algorithms: &[Algorithm],
) -> Result<Claims, Unbelievable> {
    let (issuers, audiences) = ([ISSUER.to_owned()], ["x".to_owned(), "selkie".to_owned()]);
    let expected = Expected {
        algorithms,
        issuers: &issuers,
        subject: Some("seal"),
        audiences: &audiences,
        leeways: Leeways::default(),
    };
    Compact::parse(token)?.verify(keys, &expected, NOW)
}

fn verify(token: &str, keys: &[VerificationKey]) -> Result<Claims, Unbelievable> {
    verify_with(token, keys, &[])
}

#[test]
fn a_good_token_is_believed_under_every_algorithm_and_no_other() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new("k1", algorithm);
        let keys = [signer.key()];
        let token = signer.sign(&good());
        assert!(verify(&token, &keys).is_ok(), "{algorithm}");
        assert!(verify_with(&token, &keys, &[algorithm]).is_ok(), "{algorithm}");
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|one| *one != algorithm).collect();
        let refused = verify_with(&token, &keys, &others);
        assert_eq!(refused, Err(Unbelievable::Algorithm(algorithm)), "{algorithm}");
        assert!(verify(&token, &[VerificationKey::from_pem(&signer.pem()).unwrap()]).is_ok());
    }
}

/// The one list refuses a configuration, the other a login.
#[test]
fn what_a_configuration_may_name_is_what_is_verified() {
    assert_eq!(Algorithm::ALL.map(Algorithm::name), selkie_config::JWT_ALGORITHMS);
}

#[test]
fn claims_that_are_not_as_expected_are_refused() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let keys = [signer.key()];
    for (claims, reason) in [
        (with("aud", json!("other")), Unbelievable::Audience),
        (with("aud", json!(["other", "sel"])), Unbelievable::Audience),
        (with("aud", json!([1, "selkie"])), Unbelievable::Audience),
        (with("aud", json!({ "selkie": true })), Unbelievable::Audience),
        (without("aud"), Unbelievable::Audience),
        (with("iss", json!("https://id.example/")), Unbelievable::Issuer),
        (with("iss", json!([ISSUER])), Unbelievable::Issuer),
        (without("iss"), Unbelievable::Issuer),
        (with("sub", json!("Seal")), Unbelievable::Subject),
        (without("sub"), Unbelievable::Subject),
        (with("exp", json!(NOW - 60)), NotNow::Expired.into()),
        (with("nbf", json!(NOW + 61)), NotNow::NotYet.into()),
        (with("iat", json!(NOW + 61)), NotNow::NotYet.into()),
        (with("exp", json!("soon")), NotNow::NoNumber.into()),
        (json!({ "iss": ISSUER, "sub": "seal", "aud": "selkie" }), NotNow::NoTime.into()),
    ] {
        assert_eq!(verify(&signer.sign(&claims), &keys), Err(reason), "{claims}");
    }
    assert!(verify(&signer.sign(&with("aud", json!("selkie"))), &keys).is_ok());
    assert!(verify(&signer.sign(&without("exp")), &keys).is_ok(), "iat and 150 s, as in Vault");
}

#[test]
fn an_audience_that_no_role_binds_is_refused() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let check = |claims: &Value| {
        let expected = Expected {
            algorithms: &[],
            issuers: &[],
            subject: None,
            audiences: &[],
            leeways: Leeways::default(),
        };
        Compact::parse(&signer.sign(claims))?.verify(&[signer.key()], &expected, NOW)
    };
    assert_eq!(check(&good()), Err(Unbelievable::AudienceUnbound));
    assert!(check(&without("aud")).is_ok());
    assert!(check(&with("aud", json!([]))).is_ok());
}

#[test]
fn a_signature_that_is_not_the_keys_is_refused() {
    let signer = Signer::new("k1", Algorithm::RS256);
    let keys = [signer.key()];
    let refused =
        |token: &str| assert_eq!(verify(token, &keys), Err(Unbelievable::Signature), "{token}");
    let token = signer.sign(&good());
    let (signed, _) = token.rsplit_once('.').unwrap();
    refused(&format!("{signed}."));
    refused(&format!("{signed}.AAAA"));
    refused(&Signer::new("k1", Algorithm::RS256).sign(&good()));
    refused(&Signer::new("k2", Algorithm::RS256).sign(&good()));
    refused(&signer.renamed("k2").sign(&good()));
    let other = signer.sign(&with("sub", json!("root")));
    let (_, signature) = other.rsplit_once('.').unwrap();
    refused(&format!("{signed}.{signature}"));
    assert_eq!(verify(&token, &[]), Err(Unbelievable::Signature), "without keys");
    assert!(
        verify(&signer.unnamed().sign(&good()), &keys).is_ok(),
        "without kid every key is tried"
    );
}

#[test]
fn no_token_chooses_an_algorithm_that_is_not_a_public_keys() {
    let signer = Signer::new("k1", Algorithm::RS256);
    let keys = [signer.key(), VerificationKey::from_pem(&signer.pem()).unwrap()];
    for alg in ["none", "None", "NONE", "HS256", "HS384", "HS512", "ES512", "", "rs256", "A256KW"] {
        let token = signer.forge(&json!({ "alg": alg, "kid": "k1" }), &good());
        let unknown = Malformed::Algorithm(UnknownAlgorithm(alg.into()));
        assert_eq!(verify(&token, &keys), Err(unknown.into()));
    }
    // The classic: the public key, which everybody has, as the secret of an HMAC.
    let by_public_key = signer.with_hmac_of_public_key(&good());
    let unknown = Malformed::Algorithm(UnknownAlgorithm("HS256".into()));
    assert_eq!(verify(&by_public_key, &keys), Err(unknown.into()));
    // Of another family than the key's, though the algorithm itself is allowed.
    for alg in ["ES256", "EdDSA", "PS256", "RS512"] {
        let token = signer.forge(&json!({ "alg": alg, "kid": "k1" }), &good());
        assert_eq!(verify(&token, &keys), Err(Unbelievable::Signature), "{alg}");
    }
}

#[test]
fn a_key_in_the_token_itself_is_not_looked_at() {
    let (trusted, attacker) =
        (Signer::new("k1", Algorithm::ES256), Signer::new("k1", Algorithm::ES256));
    let header = json!({
        "alg": "ES256", "kid": "k1", "jwk": attacker.jwk(), "jku": "https://evil.example",
        "x5c": ["AAAA"],
    });
    let token = attacker.forge(&header, &good());
    assert_eq!(verify(&token, &[trusted.key()]), Err(Unbelievable::Signature));
}

#[test]
fn a_text_that_is_no_token_is_refused_before_any_key_is_asked() {
    let signer = Signer::new("k1", Algorithm::ES256);
    let token = signer.sign(&good());
    let (header, rest) = token.split_once('.').unwrap();
    let raw = |claims: &str| signer.forge_text(r#"{"alg":"ES256"}"#, claims);
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        header.into(),
        format!("{token}.x"),
        format!("{header}=.{rest}"),
        format!(" {token}"),
        format!("{token}\n."),
        signer.forge_text("[]", "{}"),
        signer.forge_text(r#"{"alg":"ES256","alg":"none"}"#, "{}"),
        signer.forge_text(r#"{"alg":"ES256","kid":1}"#, "{}"),
        raw(r#"{"sub":"seal","sub":"root"}"#),
        raw(r#"{"iss":"a","nested":{"x":1,"x":2}}"#),
        raw("null"),
        raw(""),
        raw(&"[".repeat(10_000)),
    ] {
        assert_eq!(verify(&text, &[signer.key()]), Err(Malformed::NotCompact.into()), "{text}");
    }
    let critical = signer.forge(&json!({ "alg": "ES256", "crit": ["exp"], "exp": 1 }), &good());
    assert_eq!(verify(&critical, &[signer.key()]), Err(Malformed::Critical.into()));
    let huge = signer.sign(&with("fill", json!("x".repeat(TOKEN_LIMIT))));
    assert_eq!(verify(&huge, &[signer.key()]), Err(Malformed::TooLarge.into()));
    assert_eq!(verify(&"x".repeat(1 << 20), &[]), Err(Malformed::TooLarge.into()));
}

#[test]
fn of_a_set_those_keys_count_that_can_verify() {
    let (rsa, ec) = (Signer::new("r", Algorithm::RS256), Signer::new("e", Algorithm::ES384));
    let mut for_encryption = rsa.jwk();
    for_encryption["use"] = json!("enc");
    let mut only_ps = rsa.jwk();
    only_ps["alg"] = json!("PS256");
    let set = json!({ "keys": [
        { "kty": "oct", "kid": "h", "k": "c2VjcmV0" }, { "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" },
        { "kty": "RSA", "kid": "broken", "n": "%%", "e": "AQAB" }, 7,
        ["OKP", "sig", "EdDSA", "list", "Ed25519", null, null, ec.jwk()["x"], null], for_encryption, ec.jwk(), only_ps,
    ], "more": 1 });
    let keys = VerificationKey::from_set(set.to_string().as_bytes()).unwrap();
    let ids: Vec<_> = keys.iter().filter_map(VerificationKey::id).collect();
    assert_eq!(ids, ["e", "r"]);
    assert!(verify(&ec.sign(&good()), &keys).is_ok());
    assert_eq!(verify(&rsa.sign(&good()), &keys), Err(Unbelievable::Signature), "alg of the key");
    let twice = format!(r#"{{"keys":[],"keys":[{}]}}"#, ec.jwk());
    let list = format!("[[{}]]", ec.jwk());
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>", &twice, &list] {
        assert!(VerificationKey::from_set(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_private_key_is_no_verification_key() {
    let signer = Signer::new("k1", Algorithm::ES256);
    assert!(VerificationKey::from_pem(&signer.private_pem()).is_err());
    assert!(VerificationKey::from_pem(&signer.certificate()).is_ok());
    assert!(VerificationKey::from_pem("x").is_err());
    assert!(VerificationKey::from_pem("").is_err());
}
