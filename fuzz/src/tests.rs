use std::fs;
use std::path::PathBuf;

use crate::deployment::{self, Origin};

/// Runs `target` on every file of its corpus, which must hold inputs of both kinds: some that get
/// past the parser, and some that do not.
fn replay(name: &str, target: fn(&[u8]) -> bool) {
    let corpus = folder().join("corpus").join(name);
    let seeds: Vec<_> = fs::read_dir(corpus)
        .expect("every target has a corpus")
        .map(|file| fs::read(file.expect("a file").path()).expect("readable"))
        .collect();
    let accepted = seeds.iter().filter(|seed| target(seed)).count();
    assert!(accepted > 0, "no seed gets past the parser");
    assert!(accepted < seeds.len(), "no seed is refused");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_corpus_of_ciphertext_text_holds() {
    replay("ciphertext_text", crate::ciphertext_text);
}

#[test]
fn the_corpus_of_envelope_holds() {
    replay("envelope", crate::envelope);
}

#[test]
fn the_corpus_of_changed_envelope_holds() {
    replay("changed_envelope", crate::changed_envelope);
}

#[test]
fn the_corpus_of_json_bodies_holds() {
    replay("json_bodies", crate::json_bodies);
}

#[test]
fn every_target_has_a_corpus_that_is_replayed_here() {
    let names = |within: &str| -> Vec<_> {
        fs::read_dir(folder().join(within))
            .expect("the folder stands here")
            .filter_map(|entry| {
                entry.expect("an entry").path().file_stem()?.to_str().map(str::to_owned)
            })
            .collect()
    };
    let corpora = names("corpus");
    for target in names("fuzz_targets") {
        assert!(corpora.contains(&target), "{target} has no corpus");
        let replayed = format!("replay(\"{target}\"");
        assert!(include_str!("tests.rs").contains(&replayed), "{target} is not replayed");
    }
}

#[test]
fn an_unchanged_envelope_opens_whether_or_not_an_origin_key_is_declared() {
    for origin in [Origin::Declared, Origin::Undeclared] {
        for encrypt in [deployment::encrypt, deployment::encrypt_quorum] {
            let json = encrypt(b"root key", 3, origin);
            assert_eq!(deployment::decrypt(&json, origin).as_deref(), Some(&b"root key"[..]));
        }
    }
}

#[test]
fn seeds_of_every_algorithm_and_of_shares_reach_what_lies_behind_the_parser() {
    let accepts = |name: &str| {
        let seed = fs::read(folder().join("corpus/envelope").join(name)).expect("readable");
        crate::envelope(&seed)
    };
    for name in ["gcm", "p256", "x25519", "transit", "rsa"] {
        assert!(accepts(&format!("recipient_{name}")), "{name}");
    }
    assert!(accepts("shares") && accepts("quorum"));
    for name in ["twice", "of_one_seal", "too_few", "mixed", "index_zero"] {
        assert!(!accepts(&format!("shares_{name}")), "{name}");
    }
}

#[test]
#[ignore = "writes genuine envelopes into the corpus anew; for a change of the format"]
fn write_genuine_envelopes() {
    let corpus = folder().join("corpus/envelope");
    let write = |name: &str, json: &[u8]| {
        fs::write(corpus.join(name), json).expect("writable");
        let truncated = &json[..json.len() - 1];
        fs::write(corpus.join(format!("{name}_truncated")), truncated).expect("writable");
    };
    for (name, origin) in [("signed", Origin::Declared), ("unsigned", Origin::Undeclared)] {
        write(name, &deployment::encrypt(b"root key", 3, origin));
    }
    write("quorum", &deployment::encrypt_quorum(b"root key", 3, Origin::Undeclared));
}
