use std::fs;
use std::path::PathBuf;

use crate::TARGETS;
use crate::deployment::{self, Origin};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn seeds(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let corpus = fs::read_dir(folder().join("corpus").join(name));
    let corpus = corpus.unwrap_or_else(|error| panic!("{name} has no corpus: {error}"));
    let paths = corpus.map(|file| file.expect("a file").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

/// Every corpus holds inputs of both kinds: some that get past the parser, and some that do not.
#[test]
fn every_target_holds_on_its_corpus() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        let accepts = |(path, seed): &&(PathBuf, Vec<u8>)| {
            let told = std::panic::catch_unwind(|| target(seed));
            told.unwrap_or_else(|_| panic!("{} fails on {}", name, path.display()))
        };
        let accepted = seeds.iter().filter(accepts).count();
        assert!(accepted > 0, "{name}: no seed gets past the parser");
        assert!(accepted < seeds.len(), "{name}: no seed is refused");
    }
}

#[test]
fn every_corpus_has_a_target_and_is_small() {
    for entry in fs::read_dir(folder().join("corpus")).expect("it stands here") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} has no target");
        let bytes: usize = seeds(&name).iter().map(|(_, seed)| seed.len()).sum();
        assert!(bytes < 128 * 1024, "{name} has {bytes} bytes");
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

/// Blind mutation of the corpora, where there is no sanitizer to build with.
#[test]
#[ignore = "takes 5 s for each target"]
fn every_target_holds_on_mutations_of_its_corpus() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> = seeds(name).into_iter().map(|(_, seed)| seed).collect();
        let began = std::time::Instant::now();
        let mut runs = 0;
        while began.elapsed().as_secs() < 5 {
            let mut input = seeds[random() as usize % seeds.len()].clone();
            for _ in 0..=random() % 4 {
                let at = random() as usize % (input.len() + 1);
                match (random() % 4, input.get_mut(at)) {
                    (0, Some(byte)) => *byte = random() as u8,
                    (1, Some(byte)) => *byte ^= 1 << (random() % 8),
                    (2, Some(_)) => drop(input.remove(at)),
                    _ => {
                        input.insert(at, b" +0\r\n:/\\\"={}[],.1aA\x00\xff"[random() as usize % 21])
                    }
                }
            }
            runs += 1;
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                failed.push(format!("{name}: {}", input.escape_ascii()));
                break;
            }
        }
        println!("{name}: {runs}");
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
