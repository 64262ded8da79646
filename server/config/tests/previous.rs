//! What `validate --previous` tells.

mod sources;

use selkie_config::{Config, Problems, Promises, Regression, Sources, Warning, WarningKind};
use selkie_crypto::SealName;

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

/// The stanza of seal `b`, to be replaced.
const SEAL_B: &str = r#"  current_key_id = "b1"
  current_key    = "file:///keys/new"
"#;

/// The configuration above with `new` for each `old`, which must occur there.
fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = BEFORE.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

/// What is told of `new` after `old`, when both are read from `sources`.
fn regressions(old: &str, new: &str, sources: &dyn Sources) -> Result<Vec<Regression>, Problems> {
    let before = Config::parse("old.hcl", old, sources)?.promises();
    Ok(Config::parse("new.hcl", new, sources)?.promises().check_against_previous(&before))
}

/// The same, by the references to keys alone.
fn regressions_by_reference(old: &str, new: &str) -> Result<Vec<Regression>, Problems> {
    let before = Promises::parse_by_reference("old.hcl", old)?;
    Ok(Promises::parse_by_reference("new.hcl", new)?.check_against_previous(&before))
}

/// The same as text, as `validate --previous` reads them.
fn told_between(old: &str, new: &str) -> Result<Vec<String>, Problems> {
    let told = regressions_by_reference(old, new)?;
    Ok(told.iter().map(ToString::to_string).collect())
}

/// What is told when `old` stands for `new` in the configuration above.
fn told(changes: &[(&str, &str)]) -> Result<Vec<String>, Problems> {
    told_between(BEFORE, &changed(changes))
}

/// The configuration above where seal `b` has these versions, the current one first, and the key
/// has `rule`.
fn with_seal_b(ids: &[&str], rule: &str) -> String {
    let mut lines = String::new();
    for (at, id) in ids.iter().enumerate() {
        let key = format!("\"file:///keys/{id}\"");
        lines += &match at {
            0 => format!("  current_key_id = \"{id}\"\n  current_key = {key}\n"),
            _ => format!("  previous \"{id}\" {{\n    key = {key}\n  }}\n"),
        };
    }
    changed(&[(SEAL_B, &lines), ("key \"k\" {", &format!("key \"k\" {{\n  {rule}"))])
}

#[test]
fn an_unchanged_configuration_breaks_nothing() {
    assert_eq!(told(&[]).expect("is sound"), [""; 0]);
}

#[test]
fn a_shorter_list_of_seals_needs_another_generation() {
    let message = "key \"k\" in mount \"transit\": its current master keys or quorum changed but its version \
                   does not rise above 3; set \"generation\" to 1 or more, or Vaults that use it \
                   never move to the new ones";
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
            "key \"k\" in mount \"transit\": its version would go back by 1; set \"generation\" to 1 or \
             more",
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
fn a_seal_that_is_added_raises_the_version_by_itself() {
    let less = changed(&[("seals = [\"a\", \"b\"]", "seals = [\"a\"]")]);
    assert_eq!(told_between(&less, BEFORE).expect("is sound"), [""; 0]);
}

#[test]
fn other_current_keys_without_another_version_are_told() {
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("a key distributed as previous is promoted", &["b1", "b2"], &["b2", "b1"]),
        ("it is swapped back", &["b2", "b1"], &["b1", "b2"]),
        ("two slots: the oldest makes place", &["b2", "b1"], &["b3", "b2"]),
    ];
    for (case, old, new) in cases {
        let old = with_seal_b(old, "");
        let told = |rule| {
            let told = regressions_by_reference(&old, &with_seal_b(new, rule)).expect("is sound");
            let is_of_key = |told: &Regression| !matches!(told, Regression::KeyIdRemoved { .. });
            told.into_iter().filter(is_of_key).collect::<Vec<_>>()
        };
        assert!(
            matches!(
                told("").as_slice(),
                [Regression::GenerationNotRaised { was: 4, needed: 1, .. }]
            ),
            "{case}"
        );
        assert_eq!(told("generation = 1"), [], "{case}");
        assert!(
            matches!(
                told("version = 4").as_slice(),
                [Regression::VersionNotRaised { was: 4, needed: 5, .. }]
            ),
            "{case}"
        );
        assert_eq!(told("version = 5"), [], "{case}");
    }
}

#[test]
fn a_key_that_is_only_distributed_raises_the_version_and_breaks_nothing() {
    let distributed = with_seal_b(&["b1", "b2"], "");
    let rotated = with_seal_b(&["b2", "b1"], "generation = 1");
    let old = with_seal_b(&["b1"], "");
    assert_eq!(told_between(&old, &distributed).expect("is sound"), [""; 0]);
    assert_eq!(told_between(&distributed, &rotated).expect("is sound"), [""; 0]);
}

#[test]
fn the_generation_asked_for_is_enough_and_the_one_below_is_not() {
    let old = with_seal_b(&["b1", "b2"], "version = 30004");
    let told = |rule| told_between(&old, &with_seal_b(&["b2", "b1"], rule)).expect("is sound");
    assert!(told("generation = 3")[0].contains("set \"generation\" to 4 or more"));
    assert_eq!(told("generation = 4"), [""; 0]);
}

#[test]
fn a_version_by_hand_follows_the_same_rule() {
    let list = "seals = [\"a\", \"b\"]";
    let lower = told(&[(list, "version = 2\n  seals = [\"a\", \"b\"]")]).expect("is sound");
    assert_eq!(
        lower,
        [
            "key \"k\" in mount \"transit\": its version would go back by 1; set \"version\" to 3 or more"
        ]
    );
    let same = told(&[(list, "version = 3\n  seals = [\"a\", \"b\"]")]).expect("is sound");
    assert_eq!(same, [""; 0]);
    let changed = told(&[(list, "version = 3\n  seals = [\"a\"]")]).expect("is sound");
    assert_eq!(
        changed,
        [
            "key \"k\" in mount \"transit\": its current master keys or quorum changed but its version does \
          not rise above 3; set \"version\" to 4 or more, or Vaults that use it never move to the new \
          ones"
        ]
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
        ["realm \"default\" is neither the realm, which is \"x\" now, nor an alias: its \
         ciphertexts do not open"]
    );
    let aliased = told(&[(mount, "realm = \"x\"\nrealm_aliases = [\"default\"]")]);
    assert_eq!(aliased.expect("is sound"), [""; 0]);
}

#[test]
fn a_seal_that_is_renamed_keeps_what_it_wrapped_and_its_version_by_an_alias() {
    let (name, list) = ("  name           = \"b\"", "seals = [\"a\", \"b\"]");
    let renamed = "  name           = \"c\"\n  aliases        = [\"b\"]";
    let renamed = changed(&[(name, renamed), (list, "seals = [\"a\", \"c\"]")]);
    assert_eq!(told_between(BEFORE, &renamed).expect("is sound"), [""; 0]);
    let forgotten = renamed.replace("  aliases        = [\"b\"]", "");
    let told = told_between(&renamed, &forgotten).expect("is sound");
    assert!(told.len() == 1 && told[0].contains("\"b\" any more"), "{told:?}");
    let revoked = forgotten
        .replace("  priority       = 2", "  priority       = 2\n  revoked = true")
        .replace("seals = [\"a\", \"c\"]", "seals = [\"a\"]\n  generation = 1");
    assert_eq!(told_between(&renamed, &revoked).expect("is sound"), [""; 0]);
}

#[test]
fn a_revoked_seal_is_told_of_only_where_nothing_else_opens() {
    let revoke = ("  priority       = 2", "  priority       = 2\n  revoked = true");
    let list = "seals = [\"a\", \"b\"]";
    let still_open = told(&[revoke, (list, "seals = [\"a\"]\n  generation = 1")]);
    assert_eq!(still_open.expect("is sound"), [""; 0]);
    let kept = told(&[revoke, (list, "seals = [\"a\"]")]).expect("is sound");
    assert!(kept.len() == 1 && kept[0].contains("\"generation\" to 1 or more"), "{kept:?}");
    let alone = changed(&[(list, "seals = [\"b\"]")]);
    let now = changed(&[revoke, (list, "seals = [\"a\"]\n  generation = 1")]);
    let message = "key \"k\" in mount \"transit\": none of its seals opens anything any more, as each \
                   is revoked or no longer declared (b): what was made for them is lost; first let \
                   another seal join the key, raise its \"generation\", and have each Vault encrypt \
                   anew";
    assert_eq!(told_between(&alone, &now).expect("is sound"), [message]);
    // A server that runs must put it out of use.
    let parsed = |text| Promises::parse_by_reference("test.hcl", text).expect("is sound");
    let [alone, now] = [&alone, &now].map(|text| parsed(text));
    assert_eq!(now.check_against_running(&alone, |_| true), []);
}

/// As the advice on a removed seal may be followed: its name becomes an alias of another.
#[test]
fn two_seals_of_a_quorum_that_became_one_by_an_alias_count_as_one() {
    let a = BEFORE.split("seal \"static\"").nth(1).expect("seal a");
    let before = changed(&[("seals = [\"a\", \"b\"]", "quorum = 2\n  generation = 0")]);
    let (gone, listed) = (format!("seal \"static\"{a}"), "quorum = 2\n  generation = 0");
    let merged = before
        .replace(&gone, "")
        .replace("  name           = \"b\"", "  name           = \"b\"\n  aliases = [\"a\"]")
        .replace(listed, "generation = 1");
    let told = told_between(&before, &merged).expect("is sound");
    let is_told = told.iter().any(|one| one.contains("needs 2 seals, of which 1 are left"));
    assert!(is_told, "{told:?}");
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
        &"no seal has the name or alias \"b\" any more: envelopes made for it alone do not open, \
          those made for other declared seals as well still do; if the seal was renamed, add this name \
          to its \"aliases\""
            .to_owned()
    ));
    let origin = told(&[("mount \"transit\" {}", "origin_key = \"file:///keys/origin\"")]);
    assert_eq!(
        origin.expect("is sound"),
        ["\"origin_key\" is new: ciphertexts made before it do not open"]
    );
}

#[test]
fn another_origin_key_is_told_by_its_reference() {
    let with = |line: &str| changed(&[("mount \"transit\" {}", line)]);
    let (one, other) = ("origin_key = \"file:///a\"", "origin_key = \"file:///b\"");
    assert_eq!(
        told_between(&with(one), &with(other)).expect("is sound"),
        ["\"origin_key\" changed: ciphertexts made with the previous one do not open"]
    );
    assert_eq!(told_between(&with(one), &with(one)).expect("is sound"), [""; 0]);
    assert_eq!(told_between(&with(one), BEFORE).expect("is sound"), [""; 0], "it opens both");
}

#[test]
fn another_origin_key_is_told_by_its_bytes_where_they_were_read() {
    let with = |path| changed(&[("mount \"transit\" {}", &format!("origin_key = \"{path}\""))]);
    let told = |old, new| regressions(&with(old), &with(new), &TestSources).expect("is sound");
    let (origin, other) = ("file:///keys/origin", "file:///keys/retired");
    assert_eq!(told(origin, other), [Regression::OriginKeyChanged]);
    assert_eq!(told("file:///keys/raw", "file:///keys/raw_as_hex"), []);
}

#[test]
fn regressions_are_facts_to_act_on() {
    let told = regressions(BEFORE, &changed(&[("\"a\", \"b\"", "\"a\"")]), &TestSources);
    let told = told.expect("is sound");
    assert!(matches!(told.as_slice(), [Regression::GenerationNotRaised { needed: 1, .. }]));
}

/// A key under one key in Key Vault, with fields that lead to secrets and certificates.
const IN_AZURE: &str = r#"
listener "tcp" {
  tls_disable = true
}
local_key = "file:///keys/local"
seal "azurekeyvault" {
  name                    = "weu"
  priority                = 1
  vault_name              = "kv-weu"
  key_name                = "selkie"
  identity                = "client_certificate"
  tenant_id               = "file:///keys/tenant"
  client_id               = "env://SELKIE_CLIENT"
  client_certificate_file = "/gone/client.pem"
  ca_file                 = "/gone/ca.pem"
}
seal "azurekeyvault" {
  name          = "neu"
  priority      = 2
  vault_name    = "kv-neu"
  key_name      = "selkie"
  identity      = "client_secret"
  tenant_id     = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id     = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  client_secret = "file:///gone/secret"
}
key "k" {
  seals = ["weu"]
}
"#;

/// What is told when `old` stands for `new` in the configuration above.
fn told_in_azure(changes: &[(&str, &str)]) -> Result<Vec<String>, Problems> {
    let mut text = IN_AZURE.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    told_between(IN_AZURE, &text)
}

/// What a reload of a server that serves `old`, and has heard of all its master keys, is refused for.
fn refused_while_running(old: &str, new: &str) -> Result<Vec<String>, Problems> {
    refused_where(old, new, |_| true)
}

fn refused_where(
    old: &str,
    new: &str,
    is_described: impl Fn(&SealName) -> bool,
) -> Result<Vec<String>, Problems> {
    let parsed = |text| Promises::parse_by_reference("test.hcl", text);
    let told = parsed(new)?.check_against_running(&parsed(old)?, is_described);
    Ok(told.iter().map(ToString::to_string).collect())
}

/// Its versions could be counted only when it can no longer be refused, and nothing would be encrypted.
#[test]
fn a_running_server_does_not_move_a_counted_key_to_a_master_key_it_has_never_seen() {
    let after = IN_AZURE.replace("seals = [\"weu\"]", "seals = [\"neu\"]");
    let (start, end) =
        (IN_AZURE.find("seal \"azurekeyvault\" {\n  name          = \"neu\""), "}\n");
    let rest = &IN_AZURE[start.expect("is there")..];
    let neu = &rest[..rest.find(end).expect("ends") + end.len()];
    let before = IN_AZURE.replace(neu, "");
    let told = refused_while_running(&before, &after).expect("is sound");
    assert!(told.len() == 1 && told[0].contains("set \"generation\" to 1 or more"), "{told:?}");
    let raised = after.replace("seals = [\"neu\"]", "seals = [\"neu\"]\n  generation = 1");
    assert_eq!(refused_while_running(&before, &raised).expect("is sound"), [""; 0]);
    // What it has described already, it judges by what it knows.
    assert_eq!(refused_while_running(IN_AZURE, &after).expect("is sound"), [""; 0]);
    let silent = refused_where(IN_AZURE, &after, |seal| seal.as_str() != "neu").expect("is sound");
    assert_eq!(silent, told, "it has not answered since the start");
    let stated = after.replace("seals = [\"neu\"]", "seals = [\"neu\"]\n  version = 2");
    assert_ne!(refused_while_running(&before, &stated).expect("is sound"), [""; 0]);
}

const RULE: &str = "key \"k\" {";

#[test]
fn an_unchanged_key_in_key_vault_breaks_nothing_whatever_its_files_hold() {
    assert_eq!(told_in_azure(&[]).expect("is sound"), [""; 0]);
    let other_identity = "client_certificate_file = \"/gone/other.pem\"";
    let same = "client_certificate_file = \"/gone/client.pem\"";
    assert_eq!(
        told_in_azure(&[(same, other_identity)]).expect("is sound"),
        [""; 0],
        "who asks is not what wraps"
    );
}

#[test]
fn another_vault_or_key_of_a_seal_is_told_and_needs_another_generation() {
    let gone = |now: &str| {
        format!(
            "seal \"weu\": the key https://kv-weu.vault.azure.net/keys/selkie is no longer its \
             master key, which is https://{now} now: what that one wrapped does not open"
        )
    };
    let version = "key \"k\" in mount \"transit\": it counts the versions of a key in Key Vault, \
                   which these files do not tell, so its version may have been up to 9999; set \
                   \"generation\" to 1 or more, or it may go back";
    let vault = ("\"kv-weu\"", "\"kv-other\"");
    let key =
        ("\"kv-weu\"\n  key_name                = \"selkie\"", "\"kv-weu\"\n  key_name = \"x\"");
    let endpoint = ("\"kv-weu\"", "\"kv-weu\"\n  endpoint = \"https://kv.test\"");
    let other = "kv-other.vault.azure.net/keys/selkie";
    let changes =
        [(vault, other), (key, "kv-weu.vault.azure.net/keys/x"), (endpoint, "kv.test/keys/selkie")];
    for (change, now) in changes {
        let gone = gone(now);
        assert_eq!(told_in_azure(&[change]).expect("is sound"), [&gone, version], "{change:?}");
        let raised = (RULE, "key \"k\" {\n  generation = 1");
        assert_eq!(told_in_azure(&[change, raised]).expect("is sound"), [gone], "{change:?}");
    }
}

#[test]
fn another_vault_that_the_key_was_restored_into_loses_nothing() {
    let moved = "\"kv-other\"\n  former_vaults = [\"kv-weu.vault.azure.net\"]";
    let vault = ("\"kv-weu\"", moved);
    let raised = (RULE, "key \"k\" {\n  generation = 1");
    assert_eq!(told_in_azure(&[vault, raised]).expect("is sound"), [""; 0]);
    let told = told_in_azure(&[vault]).expect("is sound");
    assert!(told.len() == 1 && told[0].contains("\"generation\" to 1"), "{told:?}");
    let text = |changes: &[(&str, &str)]| {
        changes.iter().fold(IN_AZURE.to_owned(), |text, (old, new)| text.replace(old, new))
    };
    let (before, after) = (text(&[vault]), text(&[("\"kv-weu\"", "\"kv-other\"")]));
    let told = told_between(&before, &after).expect("is sound");
    let gone = "the key https://kv-weu.vault.azure.net/keys/selkie is no longer its master key";
    assert!(told.len() == 1 && told[0].contains(gone), "{told:?}");
    let twice = "\"kv-third\"\n  former_vaults = [\"kv-other.vault.azure.net\", \
                 \"kv-weu.vault.azure.net\"]";
    let twice = text(&[("\"kv-weu\"", twice), raised]);
    assert_eq!(told_between(&before, &twice).expect("is sound"), [""; 0]);
    let key = text(&[vault, raised, ("\"kv-other\"", "\"kv-other\"\n  key_name = \"x\"")]);
    let key = key.replacen("key_name                = \"selkie\"\n", "", 1);
    let told = told_between(IN_AZURE, &key).expect("is sound");
    assert!(told.len() == 1 && told[0].contains(gone), "another key's vault: {told:?}");
}

#[test]
fn a_seal_in_key_vault_that_is_added_raises_the_version_and_one_removed_needs_a_generation() {
    let both = IN_AZURE.replace("[\"weu\"]", "[\"weu\", \"neu\"]");
    assert_eq!(told_between(IN_AZURE, &both).expect("is sound"), [""; 0]);
    let removed = told_between(&both, IN_AZURE).expect("is sound");
    assert!(removed.len() == 1 && removed[0].contains("\"generation\" to 1"), "{removed:?}");
    let exchanged = IN_AZURE.replace("[\"weu\"]", "[\"neu\"]");
    let told = told_between(IN_AZURE, &exchanged).expect("is sound");
    assert!(told.len() == 1 && told[0].contains("\"generation\" to 1"), "{told:?}");
}

#[test]
fn a_count_that_nobody_knows_gives_way_only_to_a_version_that_is_surely_higher() {
    let stated = |version: u32| {
        let told = told_in_azure(&[(
            RULE,
            &format!(
                "{RULE}
  version = {version}"
            ),
        )]);
        told.expect("is sound")
    };
    assert_eq!(stated(9_999), [""; 0]);
    let told = stated(9_998);
    assert!(told.len() == 1 && told[0].contains("\"version\" to 9999"), "{told:?}");
}

#[test]
fn a_seal_that_changes_its_type_loses_its_master_key() {
    let text = BEFORE.replace("\"k\" {", "\"k\" {\n  generation = 1");
    let azure = "seal \"azurekeyvault\" {\n  name = \"b\"\n  priority = 2\n  vault_name = \"kv1\"\n  \
                 key_name = \"k\"\n}\n";
    let (start, rest) = text.split_once("seal \"static\" {\n  name           = \"b\"").expect("b");
    let (_, end) = rest.split_once("}\n").expect("an end");
    let in_azure = format!("{start}{azure}{end}");
    let to_azure = told_between(&text, &in_azure).expect("is sound");
    assert!(to_azure[0].contains("key id \"b1\" is no longer declared"), "{to_azure:?}");
    let back = told_between(&in_azure, &text).expect("is sound");
    assert!(back[0].contains("https://kv1.vault.azure.net/keys/k is no longer"), "{back:?}");
    assert!(back[1].contains("\"generation\" to 2"), "{back:?}");
}

/// The configuration above with a break-glass seal of this key, and this in the key.
fn with_break_glass(public_key: &str, further: &str) -> String {
    let seal = format!(
        "seal \"break-glass\" {{\n  public_key = \"{public_key}\"\n}}\nmount \"transit\" {{}}"
    );
    changed(&[("mount \"transit\" {}", &seal), ("seals = [\"a\", \"b\"]", further)])
}

/// P-256, with the private key 1.
const ONE: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP\
                   40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";
/// X25519, with the private key of RFC 7748 §6.1.
const OTHER: &str = "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

#[test]
fn a_break_glass_key_moves_the_version_when_it_comes_and_when_it_changes() {
    let told = |old: &str, new: &str| told_between(old, new).expect("is sound");
    let with = with_break_glass(ONE, "");
    assert_eq!(told(BEFORE, &with), [""; 0], "it counts as a master key");
    let replaced = told(&with, &with_break_glass(OTHER, ""));
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    assert!(replaced[0].contains("does not rise above 4; set \"generation\""), "{replaced:?}");
    assert_eq!(told(&with, &with_break_glass(OTHER, "generation = 1")), [""; 0]);
    let gone = told(&with, &changed(&[("seals = [\"a\", \"b\"]", "generation = 1")]));
    assert_eq!(gone, [""; 0], "no server opened anything by it");
}

/// To compare configurations no key is read from a file: it is one master key all the same.
#[test]
fn a_break_glass_key_in_a_file_counts_as_one_that_stands_in_the_configuration() {
    let told = |further: &str, key: &str| {
        let with = with_break_glass(key, further);
        let without = changed(&[("seals = [\"a\", \"b\"]", further)]);
        let of = |old: &str, new: &str| told_between(old, new).expect("is sound");
        [of(&without, &with), of(&with, &without), of(&with, &with)]
    };
    for further in ["", "quorum = 2", "seals = [\"b\"]", "generation = 1"] {
        let in_file = told(further, "/nonexistent/break-glass.pem");
        assert_eq!(in_file, told(further, ONE), "{further}");
        assert_eq!(in_file[2], [""; 0], "{further}");
    }
    let listed = "seals = [\"a\", \"b\", \"break-glass\"]\n  quorum = 2";
    let [with, raised] = [listed.to_owned(), format!("{listed}\n  generation = 1")]
        .map(|further| with_break_glass("/nonexistent/break-glass.pem", &further));
    assert_eq!(told_between(&with, &raised).expect("is sound"), [""; 0]);
    assert_eq!(told_between(&raised, &with).expect("is sound").len(), 1);
}

#[test]
fn another_quorum_needs_another_generation_like_another_list_of_seals() {
    let two = ("key \"k\" {", "key \"k\" {\n  quorum = 2");
    for (before, after) in [(vec![], vec![two]), (vec![two], vec![])] {
        let told = told_between(&changed(&before), &changed(&after)).expect("is sound");
        assert!(told.len() == 1 && told[0].contains("\"generation\" to 1"), "{told:?}");
        let mut raised = changed(&after);
        raised = raised.replace("key \"k\" {", "key \"k\" {\n  generation = 1");
        assert_eq!(told_between(&changed(&before), &raised).expect("is sound"), [""; 0]);
    }
    let same = changed(&[two]);
    assert_eq!(told_between(&same, &same).expect("is sound"), [""; 0]);
}

#[test]
fn fewer_seals_than_the_old_quorum_needed_are_told() {
    let before = changed(&[("key \"k\" {", "key \"k\" {\n  quorum = 2")]);
    let (start, _) = before.split_once("seal \"static\" {\n  name           = \"b\"").expect("b");
    let after = format!("{start}mount \"transit\" {{}}\nkey \"k\" {{\n  generation = 1\n}}\n");
    let told = told_between(&before, &after).expect("is sound");
    let lost = |told: &&String| told.contains("needs 2 seals, of which 1 are left");
    assert_eq!(told.iter().filter(lost).count(), 1, "{told:?}");
}

#[test]
fn a_quorum_of_all_seals_is_warned_of_and_one_with_a_spare_is_not() {
    let warned = |quorum: &str| {
        let text = changed(&[("key \"k\" {", &format!("key \"k\" {{\n  quorum = {quorum}"))]);
        let config = Config::parse("new.hcl", &text, &TestSources).expect("is sound");
        assert_eq!(config.keys[0].quorum.to_string(), quorum);
        let of_quorum = |one: &Warning| matches!(one.kind, WarningKind::QuorumWithoutSpare { .. });
        config.warnings.iter().any(of_quorum)
    };
    assert!(warned("2"));
    assert!(!warned("1"));
}
