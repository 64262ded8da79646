//! `seal "pkcs11"`: what is read from the stanza and what from the environment.

#![expect(clippy::expect_used, clippy::panic, reason = "its helpers are parts of tests")]

mod sources;
mod variables;

use std::path::Path;
use std::time::Duration;

use selkie_config::{
    Config, Pkcs11Mechanism, Pkcs11Seal, Promises, Regression, SealKind, WarningKind,
};

use crate::sources::TestSources;
use crate::variables::WithVariables;

const LEAST: &str = "lib = \"/lib/hsm.so\"\ntoken_label = \"hsm\"\nkey_label = \"unseal\"\n\
                     pin = \"file:///keys/secret\"\n";

fn text(fields: &str) -> String {
    format!("listener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"pkcs11\" {{\n{fields}\n}}\n")
}

fn read(fields: &str, variables: &[(&str, &str)]) -> (Pkcs11Seal, Vec<WarningKind>) {
    let config = Config::parse("x", &text(fields), &WithVariables(variables.to_vec()));
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let warnings = config.warnings.into_iter().map(|warning| warning.kind).collect();
    match config.seals.into_iter().next().expect("a seal").kind {
        SealKind::Pkcs11(seal) => (*seal, warnings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_least_that_is_needed_has_sound_defaults() {
    let (seal, warnings) = read(LEAST, &[]);
    assert_eq!(seal.library, Path::new("/lib/hsm.so"));
    assert_eq!((seal.program, seal.slot, seal.serial), (None, None, None));
    assert_eq!(seal.token_label.as_deref(), Some("hsm"));
    assert_eq!(seal.pin.as_str(), "s3cret of the file");
    assert_eq!((seal.key_label.as_deref(), seal.key_id), (Some("unseal"), None));
    assert!(seal.previous_key_ids.is_empty() && seal.environment.is_empty());
    assert_eq!((seal.mechanism, seal.max_parallel.get()), (None, 4));
    assert_eq!(seal.timeout, Duration::from_secs(5));
    assert_eq!(seal.poll_interval, Duration::from_secs(300));
    assert_eq!(warnings, []);
}

#[test]
fn everything_reads_as_written() {
    let all = "lib = \"/lib/hsm.so\"\nprogram = \"/opt/selkie-pkcs11\"\nslot = \"0x1f\"\n\
               token_label = \"hsm\"\nserial = \"AB12\"\npin = \"env://KEY_HEX\"\n\
               key_label = \"unseal\"\nkey_id = \"0x2\"\nprevious_key_ids = [\"aB01\", \"1\"]\n\
               mechanism = \"0x2109\"\nmax_parallel = 16\ntimeout = \"9s\"\n\
               environment = { SOFTHSM2_CONF = \"/etc/softhsm2.conf\", A = \"\" }\n\
               poll_interval = \"30s\"\npublic_key_sha256 = []\n";
    let (seal, _) = read(all, &[]);
    assert_eq!(seal.program.as_deref(), Some(Path::new("/opt/selkie-pkcs11")));
    assert_eq!((seal.slot, seal.serial.as_deref()), (Some(0x1F), Some("AB12")));
    assert_eq!(seal.pin.len(), 64);
    assert_eq!(seal.key_id.as_deref(), Some(&[2][..]));
    assert_eq!(seal.previous_key_ids, [vec![0xAB, 1], vec![1]]);
    assert_eq!(seal.mechanism, Some(Pkcs11Mechanism::AesKeyWrap));
    assert_eq!((seal.max_parallel.get(), seal.timeout), (16, Duration::from_secs(9)));
    let [(name, value), (_, empty)] = &seal.environment[..] else { panic!("two") };
    assert_eq!((&**name, &**value, &**empty), ("SOFTHSM2_CONF", "/etc/softhsm2.conf", ""));
}

#[test]
fn vaults_variables_suffice_and_win() {
    let variables = [
        ("VAULT_HSM_LIB", "/lib/other.so"),
        ("VAULT_HSM_SLOT", "7"),
        ("VAULT_HSM_TOKEN_LABEL", "other"),
        ("VAULT_HSM_PIN", "1234"),
        ("VAULT_HSM_KEY_LABEL", "key"),
        ("VAULT_HSM_KEY_ID", "09"),
        ("VAULT_HSM_MECHANISM", "0x1087"),
        ("VAULT_HSM_MAX_PARALLEL", "2"),
    ];
    for fields in ["", LEAST] {
        let (seal, warnings) = read(fields, &variables);
        assert_eq!(seal.library, Path::new("/lib/other.so"));
        assert_eq!((seal.slot, seal.token_label.as_deref()), (Some(7), Some("other")));
        assert_eq!(seal.pin.as_str(), "1234");
        assert_eq!((seal.key_label.as_deref(), seal.key_id), (Some("key"), Some(vec![9])));
        assert_eq!(seal.mechanism, Some(Pkcs11Mechanism::AesGcm));
        assert_eq!(seal.max_parallel.get(), 2);
        assert_eq!(warnings.len(), if fields.is_empty() { 0 } else { 4 }, "{warnings:?}");
    }
}

#[test]
fn a_pin_in_the_file_is_refused_even_where_a_variable_wins() {
    let literal = LEAST.replace("file:///keys/secret", "1234");
    let variables = WithVariables(vec![("VAULT_HSM_PIN", "1234")]);
    let refused = Config::parse("x", &text(&literal), &variables).expect_err("is refused");
    assert!(refused.to_string().contains("a secret never stands in this file"), "{refused}");
}

#[test]
fn the_pin_is_not_printed() {
    let (seal, _) = read(LEAST, &[("VAULT_HSM_PIN", "hunter2")]);
    assert_eq!(seal.pin.as_str(), "hunter2");
    let config = Config::parse("x", &text(LEAST), &TestSources).expect("is sound");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_key_that_is_no_longer_listed_is_told() {
    let parse = |ids: &str| {
        let text = text(&format!("{LEAST}{ids}\n")) + "mount \"transit\" {}\nkey \"k\" {}\n";
        Promises::parse_by_reference("x", &text).expect("is sound")
    };
    let two = parse("key_id = \"02\"\nprevious_key_ids = [\"01\"]");
    let three = parse("key_id = \"03\"\nprevious_key_ids = [\"01\", \"02\"]");
    assert_eq!(three.check_against_previous(&two), []);
    let told = two.check_against_previous(&three);
    let is_of_the_key =
        |one: &Regression| matches!(one, Regression::HsmKeyRemoved { id, .. } if id == "03");
    assert!(told.iter().any(is_of_the_key), "{told:?}");
}

#[test]
fn another_key_label_and_another_token_are_told() {
    let parse = |fields: &str| {
        let text = text(fields) + "mount \"transit\" {}\nkey \"k\" {}\n";
        Promises::parse_by_reference("x", &text).expect("is sound")
    };
    let of_the_seal = |new: &str, old: &str| {
        let mut told = parse(new).check_against_previous(&parse(old));
        told.retain(|one| {
            !matches!(
                one,
                Regression::GenerationNotRaised { .. } | Regression::VersionGoesBack { .. }
            )
        });
        told
    };
    let with_id = format!("{LEAST}key_id = \"01\"\n");
    for old in [LEAST, &with_id] {
        let told = of_the_seal(&old.replace("unseal", "other"), old);
        let is_told =
            matches!(&told[..], [Regression::HsmLabelChanged { was, .. }] if was == "unseal");
        assert!(is_told, "{told:?}");
        let told = of_the_seal(&old.replace("\"hsm\"", "\"new\""), old);
        let [Regression::HsmTokenChanged { was, .. }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(was, "token_label \"hsm\"");
        assert_eq!(of_the_seal(old, old), []);
    }
    let by_id_alone = with_id.replace("key_label = \"unseal\"\n", "");
    assert_eq!(of_the_seal(&by_id_alone, &with_id), []);
    assert!(matches!(&of_the_seal(&by_id_alone, LEAST)[..], [Regression::HsmLabelChanged { .. }]));
    let told = of_the_seal(&format!("{LEAST}serial = \"1\""), &format!("{LEAST}slot = \"2\""));
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.to_string().contains("slot 2 and token_label \"hsm\":"), "{told}");
}
