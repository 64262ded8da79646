//! Envelopes that open.

use selkie_crypto::KeyVersion;
use selkie_crypto::envelope::{Header, Purpose};
use serde_json::Value;

use crate::cases::{Recipe, header};

pub(crate) fn cases() -> Vec<Value> {
    let recipe = Recipe::default;
    let keys = |keys: &[&'static str]| Recipe { keys: keys.to_vec(), ..recipe() };
    let of = |header| Recipe { header, ..recipe() };
    let quorum = |needed, names: &[&'static str]| Recipe { needed, ..keys(names) };
    let odd_names = Header {
        realm: "prod \"eu\" \\ \u{fc} \u{2028} \u{1}\u{7f} \u{1f512}".into(),
        mount: "team/transit".into(),
        ..header()
    };
    let last = Header { version: KeyVersion::new(u32::MAX).unwrap(), created: 0, ..header() };
    vec![
        recipe().case("a256kw", "one recipient, AES key wrap"),
        keys(&["gcm"]).case("a256gcmkw", "one recipient, AES-GCM as HSMs wrap"),
        keys(&["rsa"]).case("rsa_oaep_256", "one recipient, RSA of 2048 bits"),
        keys(&["p256"]).case("ecdh_es_p256", "one recipient, ECDH-ES on P-256"),
        keys(&["x25519"]).case("ecdh_es_x25519", "one recipient, ECDH-ES on X25519"),
        keys(&["one", "two"]).case("two_recipients", "opened by the first"),
        opened_by(&keys(&["one", "two"]), 1, "second_recipient", "opened by the second"),
        opened_by(
            &keys(&["one", "rsa", "gcm", "p256", "x25519"]),
            4,
            "one_of_each",
            "opened by the last",
        ),
        Recipe { plaintext: Vec::new(), ..recipe() }
            .case("empty_plaintext", "nothing is encrypted"),
        Recipe { plaintext: (0..=255).cycle().take(4096).collect(), ..recipe() }
            .case("long_plaintext", "4096 bytes"),
        Recipe { associated_data: b"vault-1", ..recipe() }
            .case("associated_data", "bound by the AAD"),
        Recipe { context: b"ctx", ..recipe() }.case("context", "bound by the AAD"),
        Recipe { associated_data: b"vault-1", context: b"\x00\xff", ..recipe() }
            .case("associated_data_and_context", "both, kept apart"),
        Recipe { has_origin: true, ..recipe() }
            .case("origin", "made with an origin key, which is demanded"),
        unchecked_origin(),
        of(odd_names).case("odd_names", "quotes, controls and characters beyond the BMP in names"),
        of(last).case("largest_version", "version 4294967295, created at 0"),
        of(Header { purpose: Purpose::State, ..header() })
            .case("purpose_state", "a server's own state"),
        of(Header { purpose: Purpose::Backup, ..header() })
            .case("purpose_backup", "a backup's key"),
        quorum(2, &["one", "two", "gcm"]).case("quorum_two_of_three", "opened by the first two"),
        quorum(3, &["one", "two", "gcm"]).case("quorum_three_of_three", "all are needed"),
        later_shares(),
    ]
}

fn opened_by(recipe: &Recipe, at: usize, name: &str, comment: &str) -> Value {
    let mut case = recipe.case(name, comment);
    case["openers"] = serde_json::json!([{ "recipient": at, "key": recipe.keys[at] }]);
    case
}

fn unchecked_origin() -> Value {
    let recipe = Recipe { has_origin: true, ..Recipe::default() };
    let mut case = recipe.case("origin_unchecked", "made with an origin key, which nobody demands");
    case["origin_key"] = Value::Null;
    case
}

fn later_shares() -> Value {
    let recipe = Recipe { needed: 2, keys: vec!["one", "two", "gcm"], ..Recipe::default() };
    let mut case =
        recipe.case("quorum_other_two", "opened by the last and the second, in that order");
    case["openers"] =
        serde_json::json!([{ "recipient": 2, "key": "gcm" }, { "recipient": 1, "key": "two" }]);
    case
}
