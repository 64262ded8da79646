use std::fs;
use std::path::PathBuf;

use crate::deployment::{self, Origin};

/// Runs `target` on every file of its corpus; how many it accepted, and of how many.
fn replay(name: &str, target: fn(&[u8]) -> bool) -> (usize, usize) {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let seeds: Vec<_> = fs::read_dir(corpus)
        .expect("every target has a corpus")
        .map(|file| fs::read(file.expect("a file").path()).expect("readable"))
        .collect();
    let accepted = seeds.iter().filter(|seed| target(seed)).count();
    (accepted, seeds.len())
}

#[test]
fn the_corpora_hold_inputs_of_both_kinds() {
    let targets: [(&str, fn(&[u8]) -> bool); 3] = [
        ("ciphertext_text", crate::ciphertext_text),
        ("envelope", crate::envelope),
        ("changed_envelope", crate::changed_envelope),
    ];
    for (name, target) in targets {
        let (accepted, seeds) = replay(name, target);
        assert!(accepted > 0, "{name}: no seed gets past the parser");
        assert!(accepted < seeds, "{name}: no seed is refused");
    }
}

#[test]
fn every_target_has_a_corpus_that_is_replayed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let names = |within: &str| {
        let mut names: Vec<_> = fs::read_dir(folder.join(within))
            .expect("the folder stands here")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .path()
                    .file_stem()
                    .map(ToOwned::to_owned)
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("fuzz_targets"), names("corpus"));
    assert_eq!(
        names("corpus").len(),
        3,
        "name a new target in the test above as well"
    );
}

#[test]
fn an_unchanged_envelope_opens_whether_or_not_an_origin_key_is_declared() {
    for origin in [Origin::Declared, Origin::Undeclared] {
        let json = deployment::encrypt(b"root key", 3, origin);
        assert_eq!(
            deployment::decrypt(&json, origin).as_deref(),
            Some(&b"root key"[..])
        );
    }
}

#[test]
#[ignore = "writes the seeds of `envelope` anew; for a change of the format"]
fn write_the_seeds_of_envelope() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/envelope");
    for (name, origin) in [
        ("signed", Origin::Declared),
        ("unsigned", Origin::Undeclared),
    ] {
        let json = deployment::encrypt(b"root key", 3, origin);
        fs::write(corpus.join(name), &json).expect("writable");
        let truncated = &json[..json.len() - 1];
        fs::write(corpus.join(format!("{name}_truncated")), truncated).expect("writable");
    }
}
