//! What `validate --previous` tells.

mod sources;

use selkie_config::{Config, Placeholders, Problems, Regression};

use crate::sources::TestSources;

/// Seals `a` and `b`, and a key under both.
const BEFORE: &str = r#"
listener "tcp" {
  tls_disable = true
}
seal "static" {
  name           = "a"
  priority       = 1
  current_key_id = "a2"
  current_key    = "file:///keys/raw"
  previous "a1" {
    key = "env://KEY_HEX"
  }
}
seal "static" {
  name           = "b"
  priority       = 2
  current_key_id = "b1"
  current_key    = "file:///keys/new"
}
mount "transit" {}
key "k" {
  seals = ["a", "b"]
}
"#;

fn before() -> Result<Config, Problems> {
    Config::parse("old.hcl", BEFORE, &Placeholders)
}

/// What is told when `old` stands for `new` in the configuration above; each must occur there.
fn told(changes: &[(&str, &str)]) -> Result<Vec<String>, Problems> {
    let mut text = BEFORE.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    let now = Config::parse("new.hcl", &text, &TestSources)?;
    let regressions = now.check_against_previous(&before()?);
    Ok(regressions.iter().map(ToString::to_string).collect())
}

#[test]
fn an_unchanged_configuration_breaks_nothing() {
    assert_eq!(told(&[]).expect("is sound"), [""; 0]);
}

#[test]
fn another_list_of_seals_needs_another_generation() {
    let message = "key \"k\" in mount \"transit\": its list of seals changed, so set \
                   \"generation\" to 1 or more, or Vaults that use it never move to the new seals";
    let list = "seals = [\"a\", \"b\"]";
    assert_eq!(told(&[(list, "seals = [\"a\"]")]).expect("is sound"), [message]);
    assert_eq!(told(&[(list, "seals = [\"b\"]")]).expect("is sound"), [message]);
    let raised = told(&[(list, "seals = [\"a\"]\n  generation = 1")]);
    assert_eq!(raised.expect("is sound"), [""; 0]);
    let reordered = told(&[(list, "seals = [\"b\", \"a\"]")]);
    assert_eq!(reordered.expect("is sound"), [""; 0], "priority orders them, not the list");
}

#[test]
fn a_disabled_seal_is_a_changed_list() {
    let told = told(&[
        ("  seals = [\"a\", \"b\"]\n", ""),
        ("  priority       = 2", "  priority       = 2\n  disabled = true"),
    ]);
    let told = told.expect("is sound");
    assert!(told.len() == 1 && told[0].contains("\"generation\" to 1 or more"), "{told:?}");
}

#[test]
fn a_key_id_that_is_gone_is_told_and_the_version_may_not_go_back_with_it() {
    let previous = "  previous \"a1\" {\n    key = \"env://KEY_HEX\"\n  }\n";
    assert_eq!(
        told(&[(previous, "")]).expect("is sound"),
        [
            "seal \"a\": key id \"a1\" is no longer declared: what it wrapped does not open",
            "key \"k\" in mount \"transit\": its version was 3 and must now be 3 or more",
        ]
    );
    let raised = told(&[(previous, ""), ("key \"k\" {", "key \"k\" {\n  generation = 1")]);
    assert_eq!(raised.expect("is sound").len(), 1, "only the id is gone");
}

#[test]
fn a_rotated_static_key_raises_the_version_by_itself() {
    let rotated = "current_key_id = \"a3\"\n  current_key = \"file:///keys/retired\"\n  \
                   previous \"a2\" {\n    key = \"file:///keys/raw\"\n  }\n";
    let current = "current_key_id = \"a2\"\n  current_key    = \"file:///keys/raw\"\n";
    assert_eq!(told(&[(current, rotated)]).expect("is sound"), [""; 0]);
}

#[test]
fn a_version_by_hand_follows_the_same_rule() {
    let list = "seals = [\"a\", \"b\"]";
    let lower = told(&[(list, "version = 2\n  seals = [\"a\", \"b\"]")]).expect("is sound");
    assert_eq!(
        lower,
        ["key \"k\" in mount \"transit\": its version was 3 and must now be 3 or more"]
    );
    let same = told(&[(list, "version = 3\n  seals = [\"a\", \"b\"]")]).expect("is sound");
    assert_eq!(same, [""; 0]);
    let changed = told(&[(list, "version = 3\n  seals = [\"a\"]")]).expect("is sound");
    assert_eq!(
        changed,
        ["key \"k\" in mount \"transit\": its version was 3 and must now be 4 or more"]
    );
    let raised = told(&[(list, "version = 4\n  seals = [\"a\"]")]).expect("is sound");
    assert_eq!(raised, [""; 0]);
}

#[test]
fn what_is_renamed_without_an_alias_is_told() {
    let mount = "mount \"transit\" {}";
    let moved = told(&[(mount, "mount \"new\" {}")]).expect("is sound");
    assert_eq!(
        moved,
        ["mount \"transit\" is neither declared nor an alias: its ciphertexts do not open"]
    );
    let aliased = told(&[(mount, "mount \"new\" {\n  aliases = [\"transit\"]\n}")]);
    assert_eq!(aliased.expect("is sound"), [""; 0]);

    let realm = told(&[(mount, "realm = \"x\"")]).expect("is sound");
    assert_eq!(
        realm,
        ["realm \"default\" is neither the realm nor an alias: its ciphertexts do not open"]
    );
    let aliased = told(&[(mount, "realm = \"x\"\nrealm_aliases = [\"default\"]")]);
    assert_eq!(aliased.expect("is sound"), [""; 0]);
}

#[test]
fn what_is_removed_is_told() {
    let removed = told(&[("key \"k\" {", "key \"l\" {")]).expect("is sound");
    assert_eq!(
        removed,
        ["key \"k\" in mount \"transit\" is no longer declared: its ciphertexts do not open"]
    );
    let renamed = told(&[("\"b\"", "\"c\"")]).expect("is sound");
    assert!(renamed.contains(
        &"seal \"b\" is no longer declared: what only it wrapped does not open".to_owned()
    ));
    let origin = told(&[("mount \"transit\" {}", "origin_key = \"file:///keys/origin\"")]);
    assert_eq!(
        origin.expect("is sound"),
        ["\"origin_key\" is new: ciphertexts made before it do not open"]
    );
}

#[test]
fn regressions_are_facts_to_act_on() {
    let before = before().expect("is sound");
    let now = Config::parse("new.hcl", &BEFORE.replace("\"a\", \"b\"", "\"a\""), &TestSources);
    let told = now.expect("is sound").check_against_previous(&before);
    assert!(matches!(told.as_slice(), [Regression::GenerationNotRaised { needed: 1, .. }]));
}
