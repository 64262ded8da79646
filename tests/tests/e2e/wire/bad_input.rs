//! Bad input of each kind: the answer that Vault gives, one answer for every reason inside
//! the envelope (I4), nothing echoed back, the server alive.

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use selkie_tests::{Client, Request};
use serde_json::{Value, json};

use super::{STORED_KEYS, dev, encrypted};
use crate::answer::assert_refused;

const TAG_MISMATCH: &str = "cipher: message authentication failed";

fn assert_works(client: &Client) -> Result<()> {
    let ciphertext = encrypted(client, "autounseal", "YQ==")?;
    let opened = client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    Ok(())
}

fn decrypt(client: &Client, ciphertext: &str) -> Result<selkie_tests::Answer> {
    client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))
}

#[test]
fn malformed_json_is_a_400() -> Result<()> {
    let (_selkie, root) = dev()?;
    for body in ["{", "[]", "[{}]", "nonsense", "{\"plaintext\":}", "\"text\""] {
        let request = Request::new("PUT", "transit/encrypt/autounseal").body(body);
        let answer = root.send(request)?;
        assert_refused(&answer, 400, "error parsing JSON");
    }
    assert_works(&root)
}

#[test]
fn a_body_without_fields_lacks_them() -> Result<()> {
    let (_selkie, root) = dev()?;
    for (operation, text) in [
        ("encrypt", "missing plaintext to encrypt"),
        ("decrypt", "missing ciphertext to decrypt"),
        ("rewrap", "missing ciphertext to decrypt"),
    ] {
        for body in ["", "null", "{}", " {} "] {
            let path = format!("transit/{operation}/autounseal");
            assert_refused(&root.send(Request::new("PUT", &path).body(body))?, 400, text);
        }
    }
    Ok(())
}

#[test]
fn a_number_is_taken_as_text() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.put("transit/encrypt/autounseal", &json!({ "plaintext": 123 }))?;
    assert_refused(&answer, 400, "illegal base64 data at input byte 0");
    Ok(())
}

#[test]
fn a_wrong_type_is_refused_and_not_echoed() -> Result<()> {
    let (_selkie, root) = dev()?;
    let secret = "c2VjcmV0c2VjcmV0c2VjcmV0";
    for body in [
        json!({ "plaintext": { "a": secret } }),
        json!({ "plaintext": [[secret], secret, { "x": secret }] }),
        json!({ "plaintext": secret, "key_version": "x" }),
        json!({ "plaintext": secret, "key_version": { "a": secret } }),
        json!({ "plaintext": secret, "batch_input": secret }),
        json!({ "batch_input": [secret] }),
        json!({ "batch_input": [{ "plaintext": { "a": secret } }] }),
    ] {
        let answer = root.put("transit/encrypt/autounseal", &body)?;
        assert!(matches!(answer.status, 400 | 500), "{body}: {}", answer.text());
        assert!(answer.json()["errors"][0].is_string(), "{body}: {}", answer.text());
        assert!(!answer.text().contains(secret), "{body}: {}", answer.text());
    }
    let body = json!({ "plaintext": "YQ==", "key_version": "x" });
    let text = root.put("transit/encrypt/autounseal", &body)?.text();
    assert!(text.contains("error converting input x for field \\\"key_version\\\""), "{text}");
    assert_works(&root)
}

#[test]
fn bad_base64_is_named_by_its_place_as_go_does() -> Result<()> {
    let (_selkie, root) = dev()?;
    // What Go 1.26's base64.StdEncoding.DecodeString says.
    for (plaintext, at) in
        [("a!b=", 1), ("YQ", 0), ("YQ=", 3), ("YQ==X", 4), ("=", 0), ("YQ==YQ==", 4), ("ä", 0)]
    {
        let answer = root.put("transit/encrypt/autounseal", &json!({ "plaintext": plaintext }))?;
        assert_refused(&answer, 400, &format!("illegal base64 data at input byte {at}"));
    }
    Ok(())
}

#[test]
fn what_is_wrong_outside_the_envelope_has_vaults_own_text() -> Result<()> {
    let (_selkie, root) = dev()?;
    for (ciphertext, text) in [
        ("nonsense", "invalid ciphertext: no prefix"),
        ("vault:vx", "invalid ciphertext: wrong number of fields"),
        ("vault:vx:AAAA", "invalid ciphertext: version number could not be decoded"),
        ("vault:v:AAAA", "invalid ciphertext: version number could not be decoded"),
        ("vault:v999:AAAA", "invalid ciphertext: version is too new"),
        ("vault:v1:!!!!", "invalid ciphertext: could not decode base64"),
    ] {
        assert_refused(&decrypt(&root, ciphertext)?, 400, text);
        let body = json!({ "ciphertext": ciphertext });
        assert_refused(&root.put("transit/rewrap/autounseal", &body)?, 400, text);
    }
    assert_refused(&decrypt(&root, "")?, 400, "missing ciphertext to decrypt");
    Ok(())
}

/// A spread of places in the envelope's text, its first and last bytes among them.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(length / 60 + 1).chain([1, length - 2, length - 1])
}

#[test]
fn whatever_is_wrong_inside_the_envelope_has_one_answer() -> Result<()> {
    let (_selkie, root) = dev()?;
    let good = encrypted(&root, "autounseal", STORED_KEYS)?;
    let (head, text) = good.rsplit_once(':').context("no fields")?;
    let envelope = Base64::decode_vec(text).map_err(anyhow::Error::msg)?;
    let mut bad = vec![Vec::new(), b"{}".to_vec(), b"null".to_vec(), vec![0; 5000]];
    for at in places(envelope.len()) {
        bad.push(envelope[..at].to_vec());
        for bit in [0x01, 0x20, 0x80] {
            let mut flipped = envelope.clone();
            flipped[at] ^= bit;
            bad.push(flipped);
        }
    }
    bad.push([envelope.as_slice(), b" "].concat());
    for envelope in bad {
        let ciphertext = format!("{head}:{}", Base64::encode_string(&envelope));
        assert_refused(&decrypt(&root, &ciphertext)?, 400, TAG_MISMATCH);
    }
    assert_eq!(decrypt(&root, &good)?.field("plaintext")?, STORED_KEYS);
    Ok(())
}

#[test]
fn a_ciphertext_of_another_key_is_refused_like_a_forged_one() -> Result<()> {
    let (_selkie, root) = dev()?;
    let other = encrypted(&root, "other", "YQ==")?;
    assert_refused(&decrypt(&root, &other)?, 400, TAG_MISMATCH);
    Ok(())
}

#[test]
fn a_ciphertext_under_another_version_number_is_refused_like_a_forged_one() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let first = encrypted(&root, "k", "YQ==")?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    let moved = first.replace("vault:v1:", "vault:v2:");
    let answer = root.put("transit/decrypt/k", &json!({ "ciphertext": moved }))?;
    assert_refused(&answer, 400, TAG_MISMATCH);
    Ok(())
}

#[test]
fn an_unknown_key_cannot_decrypt() -> Result<()> {
    let (_selkie, root) = dev()?;
    for operation in ["decrypt", "rewrap"] {
        let body = json!({ "ciphertext": "vault:v1:AAAA" });
        let answer = root.put(&format!("transit/{operation}/nobody"), &body)?;
        assert_refused(&answer, 400, "encryption key not found");
    }
    Ok(())
}

#[test]
fn names_that_are_none_are_no_paths() -> Result<()> {
    let (_selkie, root) = dev()?;
    let text = "1 error occurred:\n\t* unsupported path\n\n";
    for name in ["-x", "x-", "a%20b", "a/b", "%C3%A4", &"x".repeat(5000)] {
        let answer = root.put(&format!("transit/encrypt/{name}"), &json!({ "plaintext": "" }))?;
        if name.len() < 100 {
            assert_refused(&answer, 404, text);
        } else {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    assert_works(&root)
}

#[test]
fn deep_nesting_is_refused() -> Result<()> {
    let (_selkie, root) = dev()?;
    for nested in [
        "[".repeat(1_000_000),
        "{\"a\":".repeat(200_000),
        format!("{{\"plaintext\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let request = Request::new("PUT", "transit/encrypt/autounseal").body(nested);
        assert!(matches!(root.send(request)?.status, 400 | 413));
    }
    assert_works(&root)
}

#[test]
fn the_last_of_repeated_members_counts_as_in_go() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = "{\"plaintext\":\"!\",\"plaintext\":\"YQ==\"}";
    let answer = root.send(Request::new("PUT", "transit/encrypt/autounseal").body(body))?;
    let ciphertext = answer.field("ciphertext")?;
    assert_eq!(decrypt(&root, &ciphertext)?.field("plaintext")?, "YQ==");
    Ok(())
}

#[test]
fn escapes_in_json_are_text_like_any_other() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = "{\"plaintext\":\"\\u0059Q\\u003d=\",\"associated_data\":\"\\/\\/\\/\\/\"}";
    let answer = root.send(Request::new("PUT", "transit/encrypt/autounseal").body(body))?;
    let body = json!({ "ciphertext": answer.field("ciphertext")?, "associated_data": "////" });
    let opened = root.put("transit/decrypt/autounseal", &body)?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    Ok(())
}

#[test]
fn no_refusal_tells_the_log_a_secret() -> Result<()> {
    let (mut selkie, root) = dev()?;
    let secret = "c2VjcmV0IHRoYXQgbm8gbG9nIG1heSBob2xk";
    let token = "hvs.c2VjcmV0dG9rZW50aGF0bm9sb2dtYXlob2xk";
    let bodies: [Value; 3] =
        [json!({ "plaintext": [secret] }), json!({ "ciphertext": secret }), json!([secret])];
    for body in &bodies {
        root.put("transit/encrypt/autounseal", body)?;
        root.put("transit/decrypt/autounseal", body)?;
        root.with_token(token).put("transit/decrypt/autounseal", body)?;
    }
    // All lines are out when it has stopped.
    selkie.stop()?;
    let log = selkie.log();
    assert!(!log.contains(secret) && !log.contains(token), "{log}");
    Ok(())
}
