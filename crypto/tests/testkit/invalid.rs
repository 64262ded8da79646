//! Envelopes that are refused, each for one reason.

#![expect(clippy::too_many_lines, reason = "lists of cases, each a line or a few")]

use base64ct::{Base64UrlUnpadded, Encoding};
use selkie_crypto::KeyVersion;
use selkie_crypto::envelope::{Header, Purpose};
use serde_json::{Value, json};

use crate::cases::{Recipe, header, header_json, unhex};

pub(crate) fn cases() -> Vec<Value> {
    [misspelled(), misread_headers(), elsewhere(), origins(), unwraps(), quorums(), changed()]
        .concat()
}

fn refused(mut case: Value, reason: &str) -> Value {
    case["expected"] = json!({ "refused": reason });
    case
}

fn with_envelope(
    name: &str,
    comment: &str,
    recipe: &Recipe,
    envelope: String,
    reason: &str,
) -> Value {
    let mut case = refused(recipe.case(name, comment), reason);
    assert_ne!(case["envelope"], envelope, "{name} changes nothing");
    case["envelope"] = envelope.into();
    case
}

/// The first `from` replaced, which must be there.
fn swap(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// Another spelling of JSON, of a name or of base64url.
fn misspelled() -> Vec<Value> {
    let recipe = Recipe::default();
    let text = recipe.make();
    let list = &text[text.find('[').unwrap() + 1..text.find(']').unwrap()];
    let seventeen = || -> String {
        let more = (1..17).map(|at| list.replace("\"s0\"", &format!("\"s{at}\"")));
        std::iter::once(list.to_owned()).chain(more).collect::<Vec<_>>().join(",")
    };
    let value: Value = serde_json::from_str(&text).unwrap();
    let tag = value["tag"].as_str().unwrap();
    // The last letter of 16 bytes has four unused bits.
    let last = char::from(tag.as_bytes()[21]);
    let unused = format!("{}{}", &tag[..21], char::from(tag.as_bytes()[21] + 1));
    assert!("AQgw".contains(last), "{last}");
    let ciphertext = value["ciphertext"].as_str().unwrap();
    [
        ("empty", "no bytes at all", String::new()),
        ("not_json", "a text", "vault".to_owned()),
        ("truncated", "the last byte is missing", text[..text.len() - 1].to_owned()),
        ("trailing_line_feed", "something follows", format!("{text}\n")),
        ("trailing_object", "something follows", format!("{text}{{}}")),
        ("white_space", "between members", swap(&text, ",\"tag\"", ", \"tag\"")),
        ("order", "members in another order", {
            let first = format!("\"ciphertext\":\"{ciphertext}\",");
            swap(&swap(&text, &first, ""), "\"tag\"", &format!("{first}\"tag\""))
        }),
        ("unknown_member", "at the top", swap(&text, "{\"ciphertext\"", "{\"a\":1,\"ciphertext\"")),
        ("duplicate_member", "iv twice", swap(&text, "\"iv\":", "\"iv\":\"AAAAAAAAAAAAAAAA\",\"iv\":")),
        ("missing_tag", "no tag", swap(&text, &format!(",\"tag\":\"{tag}\""), "")),
        ("aad_member", "the AAD is not stored", swap(&text, "{\"ciphertext\"", "{\"aad\":\"AAAA\",\"ciphertext\"")),
        ("empty_unprotected", "an unprotected header without an origin", {
            format!("{},\"unprotected\":{{}}}}", &text[..text.len() - 1])
        }),
        ("crit", "an extension", swap(&text, "\"header\":{", "\"header\":{\"crit\":[\"x\"],")),
        ("alg_dir", "an algorithm that wraps nothing", swap(&text, "A256KW", "dir")),
        ("alg_none", "no algorithm", swap(&text, "A256KW", "none")),
        ("alg_weaker", "an algorithm that Selkie has not", swap(&text, "A256KW", "A128KW")),
        ("alg_escaped", "an escape where none is needed", swap(&text, "A256KW", "A256K\\u0057")),
        ("alg_of_another_shape", "a wrapped DEK that RSA-OAEP-256 cannot have made", swap(&text, "A256KW", "A256GCMKW")),
        ("padding", "base64url with padding", swap(&text, "\",\"iv\"", "=\",\"iv\"")),
        ("standard_alphabet", "the alphabet of base64", swap(&text, &format!("\"tag\":\"{tag}\""), &format!("\"tag\":\"+{}\"", &tag[1..]))),
        ("unused_bits", "bits that mean nothing are set", swap(&text, tag, &unused)),
        ("short_iv", "a nonce of 9 bytes", swap(&text, value["iv"].as_str().unwrap(), &value["iv"].as_str().unwrap()[..12])),
        ("short_tag", "a tag of 15 bytes", swap(&text, tag, &tag[..20])),
        ("no_recipients", "for nobody", swap(&text, list, "")),
        ("twin_recipients", "two of one seal and KEK", swap(&text, list, &format!("{list},{list}"))),
        ("seventeen_recipients", "16 are the most", swap(&text, list, &seventeen())),
        ("share_without_quorum", "a share where any one opens", swap(&text, "\"s0\"", "\"s0\",\"share\":{\"index\":1,\"mac\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}")),
        ("long_wrapped_dek", "key wrap of more than 32 bytes", swap(&text, "{\"encrypted_key\":\"", "{\"encrypted_key\":\"AAAAAAAAAAA")),
    ]
    .map(|(name, comment, text)| with_envelope(name, comment, &recipe, text, "malformed"))
    .to_vec()
}

/// The protected header, changed and spelled as base64url again.
fn with_protected(text: &str, change: impl Fn(&str) -> String) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    let protected = value["protected"].as_str().unwrap();
    let inside = String::from_utf8(unurl(protected)).unwrap();
    swap(text, protected, &Base64UrlUnpadded::encode_string(change(&inside).as_bytes()))
}

fn misread_headers() -> Vec<Value> {
    let recipe = Recipe::default();
    let text = recipe.make();
    [
        ("header_white_space", "white space in the protected header", "\"enc\":", "\"enc\": "),
        ("header_enc", "another cipher", "A256GCM", "A128GCM"),
        (
            "header_zip",
            "compression",
            "{\"enc\":\"A256GCM\"",
            "{\"enc\":\"A256GCM\",\"zip\":\"DEF\"",
        ),
        ("header_format", "a later format", "\"format\":1", "\"format\":2"),
        ("header_leading_zero", "a number with a zero in front", "\"version\":1", "\"version\":01"),
        ("header_version_zero", "no key has version 0", "\"version\":1", "\"version\":0"),
        (
            "header_version_too_large",
            "more than 32 bits",
            "\"version\":1",
            "\"version\":4294967296",
        ),
        ("header_unknown_purpose", "no such purpose", "\"client\"", "\"export\""),
        ("header_escape", "an escape where none is needed", "\"prod\"", "\"pr\\u006fd\""),
        ("header_unknown_member", "something else", "{\"enc\"", "{\"b64\":false,\"enc\""),
        (
            "header_quorum_of_one",
            "one needs no quorum",
            "\"purpose\":",
            "\"quorum\":1,\"purpose\":",
        ),
    ]
    .map(|(name, comment, from, to)| {
        let envelope = with_protected(&text, |inside| swap(inside, from, to));
        with_envelope(name, comment, &recipe, envelope, "malformed")
    })
    .to_vec()
}

/// Genuine, and not what was asked for.
fn elsewhere() -> Vec<Value> {
    let asked = |name: &str, reason: &str, header: Header<'static>| {
        let case = Recipe::default().case(name, "genuine, and asked for as something else");
        let mut case = refused(case, reason);
        case["header"] = header_json(&header);
        case
    };
    vec![
        asked("other_purpose", "purpose", Header { purpose: Purpose::State, ..header() }),
        asked("other_realm", "realm", Header { realm: "test".into(), ..header() }),
        asked("realm_in_another_case", "realm", Header { realm: "Prod".into(), ..header() }),
        asked("other_mount", "mount", Header { mount: "transit2".into(), ..header() }),
        asked("other_key", "key", Header { key: "other".into(), ..header() }),
        asked(
            "other_version",
            "version",
            Header { version: KeyVersion::new(2).unwrap(), ..header() },
        ),
        changed_place(),
    ]
}

/// Whoever moves an envelope by writing another name into it is found by the cipher.
fn changed_place() -> Value {
    let recipe = Recipe::default();
    let envelope = with_protected(&recipe.make(), |inside| swap(inside, "\"prod\"", "\"test\""));
    let mut case =
        with_envelope("moved", "the realm in the header was changed", &recipe, envelope, "tag");
    case["header"]["realm"] = "test".into();
    case
}

fn origins() -> Vec<Value> {
    let signed = Recipe { has_origin: true, ..Recipe::default() };
    let text = signed.make();
    let value: Value = serde_json::from_str(&text).unwrap();
    let origin = value["unprotected"]["origin"].as_str().unwrap();
    let mut missing =
        refused(Recipe::default().case("origin_missing", "an origin key is demanded"), "origin");
    missing["origin_key"] = signed.case("x", "x")["origin_key"].clone();
    let mut other = refused(signed.case("origin_other", "made with another origin key"), "origin");
    other["origin_key"] = "0a".repeat(32).into();
    let of =
        |name, comment, envelope, reason| with_envelope(name, comment, &signed, envelope, reason);
    let mut unchecked = of(
        "origin_misspelled",
        "nobody checks it, and it has one spelling",
        swap(&text, origin, "AAAA"),
        "malformed",
    );
    unchecked["origin_key"] = Value::Null;
    vec![
        missing,
        other,
        unchecked,
        of(
            "origin_changed",
            "the proof was changed",
            swap(&text, origin, &another_letter(origin)),
            "origin",
        ),
        of(
            "origin_recipient_added",
            "a recipient after the proof",
            {
                let list = &text[text.find('[').unwrap() + 1..text.find(']').unwrap()];
                swap(&text, list, &format!("{list},{}", list.replace("\"s0\"", "\"s1\"")))
            },
            "origin",
        ),
    ]
}

/// Another first letter.
fn another_letter(text: &str) -> String {
    format!("{}{}", if text.starts_with('A') { "B" } else { "A" }, &text[1..])
}

fn unwraps() -> Vec<Value> {
    let recipe = Recipe::default();
    let text = recipe.make();
    let value: Value = serde_json::from_str(&text).unwrap();
    let wrapped = value["recipients"][0]["encrypted_key"].as_str().unwrap();
    let mut other = refused(recipe.case("other_kek", "another master key"), "unwrap");
    other["openers"][0]["key"] = "two".into();
    let of = |key: &'static str| Recipe { keys: vec![key], ..Recipe::default() };
    let part = |recipe: &Recipe, at: &str| {
        let value: Value = serde_json::from_str(&recipe.make()).unwrap();
        value.pointer(at).unwrap().as_str().unwrap().to_owned()
    };
    let flipped = |text: &str| {
        let mut bytes = unurl(text);
        bytes[1] ^= 1;
        Base64UrlUnpadded::encode_string(&bytes)
    };
    let change = |name, comment, recipe: &Recipe, at: &str, to: &dyn Fn(&str) -> String| {
        let from = part(recipe, at);
        with_envelope(name, comment, recipe, swap(&recipe.make(), &from, &to(&from)), "unwrap")
    };
    let short = Base64UrlUnpadded::encode_string(&unhex(
        include_str!("../../testkit/source/rsa-31-bytes.wrapped").trim(),
    ));
    let zero = Base64UrlUnpadded::encode_string(&[0; 32]);
    vec![
        other,
        with_envelope(
            "wrapped_dek_changed",
            "one bit",
            &recipe,
            swap(&text, wrapped, &flipped(wrapped)),
            "unwrap",
        ),
        change(
            "gcm_wrapped_dek_changed",
            "one bit",
            &of("gcm"),
            "/recipients/0/encrypted_key",
            &flipped,
        ),
        change("gcm_tag_changed", "one bit", &of("gcm"), "/recipients/0/header/tag", &flipped),
        change("gcm_iv_changed", "one bit", &of("gcm"), "/recipients/0/header/iv", &flipped),
        change(
            "rsa_wrapped_dek_changed",
            "one bit",
            &of("rsa"),
            "/recipients/0/encrypted_key",
            &flipped,
        ),
        change(
            "rsa_wraps_31_bytes",
            "no DEK has so many",
            &of("rsa"),
            "/recipients/0/encrypted_key",
            &|_| short.clone(),
        ),
        change(
            "p256_not_on_curve",
            "the ephemeral key is no point",
            &of("p256"),
            "/recipients/0/header/epk/y",
            &flipped,
        ),
        change(
            "p256_infinity",
            "zeroes are no point",
            &of("p256"),
            "/recipients/0/header/epk/x",
            &|_| zero.clone(),
        ),
        change(
            "x25519_low_order",
            "the shared secret would be the same for every key",
            &of("x25519"),
            "/recipients/0/header/epk/x",
            &|_| zero.clone(),
        ),
        change(
            "x25519_wrapped_dek_changed",
            "one bit",
            &of("x25519"),
            "/recipients/0/encrypted_key",
            &flipped,
        ),
    ]
}

fn quorums() -> Vec<Value> {
    let recipe = Recipe { needed: 2, keys: vec!["one", "two", "gcm"], ..Recipe::default() };
    let text = recipe.make();
    let value: Value = serde_json::from_str(&text).unwrap();
    let mac =
        |at: usize| value["recipients"][at]["header"]["share"]["mac"].as_str().unwrap().to_owned();
    let opened_by = |name: &str, comment: &str, openers: Value| {
        let mut case = refused(recipe.case(name, comment), "quorum");
        case["openers"] = openers;
        case
    };
    let another = Recipe { fill: 0x43, ..recipe.clone() }.make();
    let another: Value = serde_json::from_str(&another).unwrap();
    let mut spliced = value.clone();
    spliced["recipients"][0]["encrypted_key"] = another["recipients"][0]["encrypted_key"].clone();
    vec![
        opened_by("quorum_of_one", "two are needed", json!([{ "recipient": 0, "key": "one" }])),
        opened_by(
            "quorum_twice_the_same",
            "one share twice is one",
            json!([
                { "recipient": 0, "key": "one" }, { "recipient": 0, "key": "one" },
            ]),
        ),
        with_envelope(
            "quorum_share_of_another",
            "a share of another envelope",
            &recipe,
            spliced.to_string(),
            "share",
        ),
        with_envelope(
            "quorum_macs_swapped",
            "each share's mark is the other's",
            &recipe,
            text.replace(&mac(0), "#").replace(&mac(1), &mac(0)).replace('#', &mac(1)),
            "share",
        ),
        with_envelope(
            "quorum_index_zero",
            "the DEK would be the share",
            &recipe,
            swap(&text, "\"index\":1", "\"index\":0"),
            "malformed",
        ),
        with_envelope(
            "quorum_index_twice",
            "two shares of one index",
            &recipe,
            swap(&text, "\"index\":2", "\"index\":1"),
            "malformed",
        ),
        with_envelope(
            "quorum_never_met",
            "fewer recipients than are needed",
            &recipe,
            {
                let list = &text[text.find('[').unwrap() + 1..text.find(']').unwrap()];
                swap(&text, list, list.split(",{\"encrypted_key\"").next().unwrap())
            },
            "malformed",
        ),
        with_envelope(
            "quorum_third_changed",
            "a recipient that nobody asks",
            &recipe,
            swap(&text, "\"s2\"", "\"s9\""),
            "commitment",
        ),
    ]
}

fn changed() -> Vec<Value> {
    let recipe = Recipe { associated_data: b"vault-1", context: b"ctx", ..Recipe::default() };
    let text = recipe.make();
    let value: Value = serde_json::from_str(&text).unwrap();
    let flipped = |member: &str| {
        let part = value[member].as_str().unwrap();
        let mut bytes = unurl(part);
        bytes[0] ^= 1;
        swap(&text, part, &Base64UrlUnpadded::encode_string(&bytes))
    };
    let of =
        |name, comment, envelope, reason| with_envelope(name, comment, &recipe, envelope, reason);
    let bound = |name: &str, member: &str, to: &str| {
        let mut case = refused(recipe.case(name, "not what was bound"), "tag");
        case[member] = to.into();
        case
    };
    let two = Recipe { keys: vec!["one", "two"], ..Recipe::default() };
    let mut spliced: Value = serde_json::from_str(&two.make()).unwrap();
    let donor: Value = serde_json::from_str(&Recipe { fill: 0x43, ..two.clone() }.make()).unwrap();
    spliced["recipients"][1] = donor["recipients"][1].clone();
    let commitment = with_protected(&text, |inside| {
        let at = inside.find("\"commitment\":\"").unwrap() + 14;
        format!("{}{}", &inside[..at], another_letter(&inside[at..]))
    });
    let mut swapped = bound("associated_data_as_context", "associated_data", "637478");
    swapped["context"] = "7661756c742d31".into();
    vec![
        of("ciphertext_changed", "one bit", flipped("ciphertext"), "tag"),
        of("iv_changed", "one bit", flipped("iv"), "tag"),
        of("tag_changed", "one bit", flipped("tag"), "tag"),
        of(
            "created_changed",
            "the time in the header",
            with_protected(&text, |inside| swap(inside, "1764000000", "1764000001")),
            "tag",
        ),
        of("commitment_changed", "not the commitment to this DEK", commitment, "commitment"),
        of(
            "recipient_renamed",
            "the commitment covers names",
            swap(&text, "\"s0\"", "\"s1\""),
            "commitment",
        ),
        of(
            "recipient_added",
            "the commitment covers all recipients",
            {
                let list = &text[text.find('[').unwrap() + 1..text.find(']').unwrap()];
                swap(&text, list, &format!("{list},{}", list.replace("\"s0\"", "\"s1\"")))
            },
            "commitment",
        ),
        with_envelope(
            "recipient_of_another",
            "the second recipient has another DEK",
            &two,
            spliced.to_string(),
            "commitment",
        ),
        bound("other_associated_data", "associated_data", "7661756c742d32"),
        bound("no_associated_data", "associated_data", ""),
        bound("other_context", "context", "00"),
        bound("no_context", "context", ""),
        swapped,
    ]
}

fn unurl(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).unwrap()
}
