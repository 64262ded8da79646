//! Whatever a client is called, by a claim that it chose itself, a rule reaches for it no further
//! than for anybody who is called something in one plain word.

use super::*;
use crate::request::{Parameter, Request};

const NAME: &str = "{{identity.entity.name}}";
const TEAM: &str = "{{identity.entity.aliases.acc.metadata.team}}";

/// A request with the parameter `who`.
struct Said<'r>(&'r str);

impl Request for Said<'_> {
    fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
        Some(vec![("who", Parameter::Text(self.0))])
    }

    fn wrap_ttl(&self) -> Option<std::time::Duration> {
        None
    }
}

fn identity(name: &str, team: &str) -> Identity {
    let metadata = [("team".to_owned(), team.to_owned())].into();
    let alias = crate::identity::Alias { name: name.to_owned(), metadata };
    Identity {
        name: name.to_owned(),
        aliases: [("acc".to_owned(), alias)].into(),
        ..Identity::default()
    }
}

fn parsed(rules: &[(String, &str)]) -> Policy {
    let text: String =
        rules.iter().map(|(path, body)| format!("path {path:?} {{\n{body}\n}}\n")).collect();
    Policy::parse("test".parse().expect("a name"), "test.hcl", &text).expect("a policy")
}

/// What a rule may match at most, whoever asks: a template is a word without a slash.
fn reaches(rule: &str, path: &str) -> bool {
    let rule = rule.replace(NAME, "\u{1}").replace(TEAM, "\u{1}");
    let (rule, is_open) = rule.strip_suffix('*').map_or((&*rule, false), |prefix| (prefix, true));
    // As for every rule, leading slashes are dropped.
    let path = path.trim_start_matches('/');
    let (mut wanted, mut given) = (rule.split('/').peekable(), path.split('/'));
    while let Some(segment) = wanted.next() {
        let is_last = wanted.peek().is_none();
        let Some(own) = given.next() else { return false };
        let is_plus = segment == "+";
        let fits = match (is_plus, is_last && is_open) {
            (true, _) => true,
            (false, false) => is_word(segment, own),
            // The rest may follow in the same segment.
            (false, true) => {
                own.char_indices().any(|(at, _)| is_word(segment, &own[..at]))
                    || is_word(segment, own)
            }
        };
        if !fits {
            return false;
        }
    }
    is_open || given.next().is_none()
}

/// Whether `text` is `pattern` with something for each template in it.
fn is_word(pattern: &str, text: &str) -> bool {
    match pattern.split_once('\u{1}') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().skip(1).any(|(at, _)| is_word(after, &rest[at..]))
                || (!rest.is_empty() && is_word(after, ""))
        }),
    }
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a", "b", "config", "/", "//", "+", "*", "/+", "+/", "/*", "{{", "}}", NAME, "..", "%2f",
        "-", " ", "\u{0}",
    ]);
    vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn segment() -> impl Strategy<Value = String> {
    let parts = vec![
        "a".to_owned(),
        "b".to_owned(),
        "+".to_owned(),
        NAME.to_owned(),
        TEAM.to_owned(),
        format!("a{NAME}"),
        format!("{TEAM}-b"),
        format!("{NAME}-{TEAM}"),
    ];
    select(parts)
}

fn templated_path() -> impl Strategy<Value = String> {
    let end = select(vec!["", "", "*", "/*"]);
    (vec(segment(), 1..4), end).prop_filter_map("no rule path", |(segments, end)| {
        let path = format!("{}{end}", segments.join("/"));
        (!path.contains("+*")).then_some(path)
    })
}

/// Requests that are likely to meet a rule: of its own words, and of the client's.
fn asked(values: [&str; 2]) -> Vec<String> {
    let mut words: Vec<String> = ["a", "b", "ab", "a-b", "config", "x"].map(str::to_owned).into();
    for value in values {
        words.extend([value.to_owned(), format!("a{value}"), format!("{value}-b")]);
        words.extend(value.split('/').map(str::to_owned));
    }
    words.push(values.join("-"));
    let mut all = words.clone();
    for one in &words {
        all.extend(words.iter().map(|other| format!("{one}/{other}")));
        all.extend(["a", "b", "x"].map(|last| format!("a/{one}/{last}")));
    }
    all
}

proptest! {
    #[test]
    fn no_value_takes_a_rule_past_a_word_in_its_place(
        rule in templated_path(),
        name in hostile(),
        team in hostile(),
    ) {
        let policy = parsed(&[(rule.clone(), "capabilities = [\"update\"]")]);
        let acl = Acl::of([&policy], &identity(&name, &team));
        for path in asked([&name, &team]) {
            let is_allowed = acl.admits(&path, Capability::Update, &Bare);
            prop_assert!(!is_allowed || reaches(&rule, &path), "{rule} for {name:?} {team:?}: {path:?}");
        }
    }

    #[test]
    fn no_value_takes_a_narrow_rule_out_of_the_way_of_a_wide_one(
        list in select(vec!["allowed_parameters", "denied_parameters"]),
        pattern in select(vec![NAME.to_owned(), format!("{NAME}*"), format!("{TEAM}-*"), format!("*{NAME}")]),
        name in hostile(),
        team in hostile(),
        who in select(vec!["a", "b", "b-", "", "*", "config"]),
    ) {
        let narrow = format!("capabilities = [\"update\"]\n{list} = {{ \"who\" = [{pattern:?}] }}");
        let rules = [
            ("a/b".to_owned(), &*narrow),
            ("a/*".to_owned(), "capabilities = [\"update\"]"),
        ];
        let policy = parsed(&rules);
        let admits = |name: &str, team: &str| {
            let acl = Acl::of([&policy], &identity(name, team));
            acl.admits("a/b", Capability::Update, &Said(who))
        };
        // Whoever is let through is so under a plain name as well: its own, or nobody's.
        let plain = ["a", "b", "config", "b-", "nobody"];
        let as_plain = || plain.iter().any(|one| plain.iter().any(|other| admits(one, other)));
        let fits = |value: &str| !value.is_empty() && !value.contains('*');
        let own = fits(&name) && fits(&team);
        prop_assert!(!admits(&name, &team) || own || as_plain());
        // What is no name at all lets nobody through who says it.
        let needed = if pattern.contains(TEAM) { &team } else { &name };
        prop_assert!(fits(needed) || !admits(&name, &team), "{pattern} {name:?} {team:?}");
    }
}

#[test]
fn the_same_values_put_into_the_text_would_reach_further_which_is_the_control() {
    let rule = format!("transit/keys/{NAME}");
    let other = "transit/keys/victim/config";
    for value in ["victim/config", "+/config", "*", "victim/*"] {
        let raw = parsed(&[(rule.replace(NAME, value), "capabilities = [\"update\"]")]);
        assert!(Acl::new([&raw]).admits(other, Capability::Update, &Bare), "{value}");
        assert!(!reaches(&rule, other));
        let policy = parsed(&[(rule.clone(), "capabilities = [\"update\"]")]);
        let acl = Acl::of([&policy], &identity(value, ""));
        assert!(!acl.admits(other, Capability::Update, &Bare), "{value}");
    }
}

#[test]
fn a_deny_stays_where_a_name_fits_no_path() {
    for restriction in [
        "capabilities = [\"deny\"]",
        "capabilities = [\"update\"]\ndenied_parameters = { \"who\" = [\"b\"] }",
    ] {
        let policy = parsed(&[
            (format!("{NAME}/decrypt/*"), restriction),
            ("team/*".to_owned(), "capabilities = [\"update\"]"),
        ]);
        let admits = |name| {
            let acl = Acl::of([&policy], &identity(name, ""));
            acl.admits("team/transit/decrypt/key", Capability::Update, &Said("b"))
        };
        assert!(!admits("team/transit"), "{restriction}");
        assert!(admits("another"), "the control: a rule for somebody else takes nothing away");
    }
}
