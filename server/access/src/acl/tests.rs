mod hostile;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::capability::CapabilitySet;
use crate::request::Bare;

/// What somebody may do, in the notation of `tests/vault/table.txt`.
struct Answer<'t> {
    policies: Vec<&'t str>,
    path: &'t str,
    is_list: bool,
    expected: &'t str,
}

fn answers(table: &str) -> Vec<Answer<'_>> {
    let mut answers: Vec<Answer<'_>> = Vec::new();
    let mut policies = Vec::new();
    let mut policies_are_complete = true;
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(policy) = line.strip_prefix("policy") {
            if policies_are_complete {
                policies.clear();
            }
            policies.push(policy);
            policies_are_complete = false;
            continue;
        }
        policies_are_complete = true;
        let (question, expected) = line.split_once(": ").expect("an answer");
        let listed = question.strip_prefix("list ");
        answers.push(Answer {
            policies: policies.clone(),
            path: listed.unwrap_or(question),
            is_list: listed.is_some(),
            expected,
        });
    }
    answers
}

fn policy(rules: &str) -> Policy {
    let text: String = rules.split_whitespace().map(rule_text).collect();
    Policy::parse("test".parse().expect("a name"), "test.hcl", &text).expect("a policy")
}

fn rule_text(rule: &str) -> String {
    let (path, words) = rule.split_once('=').expect("a rule");
    let words: Vec<_> = words.split(',').filter(|word| !word.is_empty()).collect();
    format!("path {path:?} {{ capabilities = {words:?} }}\n")
}

fn acl(policies: &[&str]) -> Acl {
    let policies: Vec<_> = policies.iter().map(|rules| policy(rules)).collect();
    Acl::new(&policies)
}

/// The answer as far as it is asked for one capability at a time.
fn allowed(acl: &Acl, path: &str) -> Vec<&'static str> {
    let not_listed = Capability::ALL.into_iter().filter(|one| *one != Capability::List);
    not_listed.filter(|one| acl.admits(path, *one, &Bare)).map(Capability::name).collect()
}

fn check(table: &str) {
    for Answer { policies, path, is_list, expected } in answers(table) {
        let acl = acl(&policies);
        let what = format!("{path:?} under {policies:?}");
        let words: Vec<_> = expected.split(',').filter(|word| *word != "deny").collect();
        if is_list || !path.ends_with('/') {
            assert_eq!(acl.capabilities(path).join(","), expected, "{what}");
            assert_eq!(
                acl.admits(path, Capability::List, &Bare),
                words.contains(&"list"),
                "{what}"
            );
        }
        if !is_list {
            let others: Vec<_> = words.iter().copied().filter(|word| *word != "list").collect();
            assert_eq!(allowed(&acl, path), others, "{what}");
        }
    }
}

#[test]
fn answers_follow_the_documented_rules() {
    let table = include_str!("../../tests/vault/table.txt");
    assert!(answers(table).len() >= 120);
    check(table);
}

#[test]
fn answers_to_random_policies_are_those_that_vault_gave() {
    check(include_str!("../../tests/vault/random.txt"));
}

#[test]
fn root_allows_everything_whatever_is_beside_it() {
    let deny = policy("*=deny");
    for policies in
        [vec![Policy::root()], vec![deny.clone(), Policy::root()], vec![Policy::root(), deny]]
    {
        let acl = Acl::new(&policies);
        assert_eq!(acl.capabilities("sys/raw"), ["root"]);
        assert!(Capability::ALL.into_iter().all(|one| acl.admits("", one, &Bare)));
        assert!(acl.reaches_mount(&"transit".parse().expect("a mount")));
    }
}

#[test]
fn a_policy_text_named_root_is_not_root() {
    let named =
        Policy::parse("root".parse().expect("a name"), "x", "path \"a\" { policy = \"read\" }");
    let acl = Acl::new([&named.expect("a policy")]);
    assert_eq!(acl.capabilities("a"), ["list", "read"]);
    assert_eq!(acl.capabilities("b"), ["deny"]);
}

#[test]
fn default_policy_is_about_the_token_itself_only() {
    let acl = Acl::new([&Policy::default_policy()]);
    assert_eq!(acl.capabilities("auth/token/lookup-self"), ["read"]);
    let updates = [
        "auth/token/renew-self",
        "auth/token/revoke-self",
        "sys/capabilities-self",
        "sys/wrapping/wrap",
        "sys/wrapping/lookup",
        "sys/wrapping/unwrap",
    ];
    for path in updates {
        assert_eq!(acl.capabilities(path), ["update"]);
    }
    for path in ["auth/token/create", "sys/mounts", "transit/keys/a", "auth/token/lookup"] {
        assert_eq!(acl.capabilities(path), ["deny"]);
    }
}

#[test]
fn no_policies_allow_nothing() {
    let acl = Acl::new([]);
    assert_eq!(acl.capabilities("auth/token/lookup-self"), ["deny"]);
    assert!(!acl.reaches_mount(&"transit".parse().expect("a mount")));
}

#[test]
fn mount_is_reached_by_whatever_allows_something_in_it() {
    let reaching = [
        "transit/encrypt/a=update",
        "transit/*=read",
        "transit/en*=read",
        "tr*=read",
        "*=sudo",
        "+/encrypt/a=update",
        "transit/+/a=update",
        "+/*=list",
        "transit/*=deny transit/encrypt/a=update",
        "transit/=read",
        "transit=list",
    ];
    let not_reaching = [
        "transit/encrypt/a=deny",
        "transit/encrypt/a=",
        "transit=read,deny",
        "transits/encrypt/a=update",
        "team/transit/encrypt/a=update",
        "team/+/encrypt/a=update",
        "*=deny",
        "+/encrypt/a=deny",
        "+/other/*=",
    ];
    let mount = "transit".parse().expect("a mount");
    for rules in reaching {
        assert!(acl(&[rules]).reaches_mount(&mount), "{rules}");
    }
    for rules in not_reaching {
        assert!(!acl(&[rules]).reaches_mount(&mount), "{rules}");
    }
    let nested = "team/transit".parse().expect("a mount");
    assert!(acl(&["+/transit/encrypt/a=update"]).reaches_mount(&nested));
    assert!(!acl(&["transit/encrypt/a=update"]).reaches_mount(&nested));
}

#[test]
fn a_path_is_reached_by_who_has_the_capability_whatever_the_request_must_be() {
    let text = "path \"a\" {\n  capabilities = [\"update\"]\n  required_parameters = [\"b\"]\n}";
    let policy = Policy::parse("test".parse().expect("a name"), "test.hcl", text);
    let acl = Acl::new([&policy.expect("a policy")]);
    assert!(acl.reaches("a", Capability::Update) && !acl.admits("a", Capability::Update, &Bare));
    assert!(!acl.reaches("a", Capability::Read) && !acl.reaches("b", Capability::Update));
    assert!(Acl::new([&Policy::root()]).reaches("b", Capability::Sudo));
}

#[test]
fn a_rule_that_only_grants_takes_nothing_away_from_a_client_that_it_does_not_fit() {
    let text = "path \"a/*\" { policy = \"read\" }\n\
                path \"a/{{identity.entity.name}}\" { policy = \"write\" }";
    let policy = Policy::parse("test".parse().expect("a name"), "test.hcl", text);
    let identity = Identity { name: "b*".into(), ..Identity::default() };
    let policy = policy.expect("a policy");
    let acl = Acl::of([&policy], &identity);
    assert_eq!(acl.capabilities("a/bc"), ["list", "read"]);
    let fitting = Identity { name: "b".into(), ..Identity::default() };
    assert_eq!(Acl::of([&policy], &fitting).capabilities("a/b").len(), 5, "write");
}

#[test]
fn a_bare_request_has_no_parameters_and_no_wrapping() {
    assert_eq!(Bare.parameters(), Some(vec![]));
    assert_eq!(Bare.wrap_ttl(), None);
}

/// Vault's rules once more, with no thought for speed: every rule is tried on every question.
mod reference {
    use std::cmp::Ordering;

    use super::Grant;

    pub(super) fn grant(rules: &[(String, Grant)], path: &str) -> Grant {
        let matching: Vec<_> = rules.iter().filter(|(rule, _)| matches(rule, path)).collect();
        let Some((best, _)) = matching.iter().max_by(|one, other| priority(&one.0, &other.0))
        else {
            return Grant::NOTHING;
        };
        let same = matching.iter().filter(|(rule, _)| rule == best);
        same.fold(Grant::NOTHING, |sum, (_, grant)| sum.union(grant))
    }

    fn is_pattern(rule: &str) -> bool {
        rule.ends_with('*') || rule.split('/').any(|segment| segment == "+")
    }

    fn matches(rule: &str, path: &str) -> bool {
        match (rule.strip_suffix('*'), rule.split_once('/'), path.split_once('/')) {
            (Some(prefix), None, _) => path.starts_with(prefix),
            (_, None, None) => rule == "+" || rule == path,
            (_, Some((own, rules)), Some((given, paths))) => {
                (own == "+" || own == given) && matches(rules, paths)
            }
            _ => false,
        }
    }

    fn priority(one: &str, other: &str) -> Ordering {
        let plus = |rule: &str| rule.split('/').filter(|segment| *segment == "+").count();
        let wildcard = |rule: &str| rule.find(['+', '*']).unwrap_or(rule.len());
        let is_exact = (!is_pattern(one)).cmp(&!is_pattern(other));
        is_exact
            .then_with(|| wildcard(one).cmp(&wildcard(other)))
            .then_with(|| other.ends_with('*').cmp(&one.ends_with('*')))
            .then_with(|| plus(other).cmp(&plus(one)))
            .then_with(|| one.len().cmp(&other.len()))
            .then_with(|| one.cmp(other))
    }
}

fn path() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "ab", ""]), 1..5).prop_map(|segments| segments.join("/"))
}

/// Rule paths without a leading slash, which the reference does not know of.
fn rule_path() -> impl Strategy<Value = String> {
    let segments = vec(select(vec!["a", "b", "ab", "+"]), 1..4);
    (segments, select(vec!["", "*", "/*", "/"]))
        .prop_map(|(segments, end)| segments.join("/") + end)
        .prop_filter("Vault refuses it", |rule| !rule.contains("+*"))
}

fn grant() -> impl Strategy<Value = Grant> {
    let allow = vec(select(Capability::ALL.to_vec()), 0..3)
        .prop_map(|capabilities| Grant::of(CapabilitySet::of(&capabilities)));
    prop_oneof![4 => allow, 1 => Just(Grant::Deny)]
}

fn rule_set(rules: &[(String, Grant)]) -> RuleSet {
    RuleSet::new(rules.iter().map(|(path, grant)| {
        (Cow::Owned(RulePath::parse(path).expect("a rule path")), Cow::Borrowed(grant))
    }))
}

proptest! {
    #[test]
    fn compiled_rules_answer_as_the_reference_does(
        rules in vec((rule_path(), grant()), 0..8),
        path in path(),
    ) {
        let expected = reference::grant(&rules, path.trim_start_matches('/'));
        prop_assert_eq!(rule_set(&rules).grant(&path).clone(), expected);
    }

    #[test]
    fn adding_a_denial_never_widens(
        rules in vec((rule_path(), grant()), 0..8),
        denied in rule_path(),
        path in path(),
    ) {
        let before = rule_set(&rules);
        let mut rules = rules;
        rules.push((denied, Grant::Deny));
        let after = rule_set(&rules);
        for capability in Capability::ALL {
            prop_assert!(
                !after.grant(&path).allows(capability) || before.grant(&path).allows(capability)
            );
            prop_assert!(
                !after.grant_for_list(&path).allows(capability)
                    || before.grant_for_list(&path).allows(capability)
            );
        }
    }

    #[test]
    fn the_order_of_policies_does_not_matter(
        rules in vec((rule_path(), grant()), 0..8),
        path in path(),
    ) {
        let backwards: Vec<_> = rules.iter().rev().cloned().collect();
        let (rules, backwards) = (rule_set(&rules), rule_set(&backwards));
        prop_assert_eq!(rules.grant(&path), backwards.grant(&path));
    }

    #[test]
    fn no_text_makes_the_check_panic(rule in ".{0,40}", path in ".{0,40}") {
        if let Ok(rule_path) = RulePath::parse(&rule) {
            let rules = RuleSet::new([(Cow::Owned(rule_path), Cow::Owned(Grant::Deny))]);
            prop_assert!(!rules.grant(&path).allows_anything());
            prop_assert!(!rules.grant_for_list(&path).allows_anything());
        }
    }
}
