use std::collections::HashMap;

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value as Json;

use super::*;
use crate::acl::Acl;
use crate::policy::Policy;

#[derive(Debug)]
struct Sent {
    parameters: HashMap<String, Json>,
    /// Of numbers and lists.
    json: HashMap<String, String>,
    wrap_ttl: Option<Duration>,
}

impl Sent {
    fn new(parameters: HashMap<String, Json>, wrap_ttl: Option<u64>) -> Self {
        let json = parameters.iter().map(|(name, value)| (name.clone(), value.to_string()));
        let json = json.collect();
        Self { parameters, json, wrap_ttl: wrap_ttl.map(Duration::from_secs) }
    }
}

impl Request for &Sent {
    fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
        let parameter = |(name, value): (&'_ String, &'_ Json)| match value {
            Json::Null => Parameter::Null,
            Json::Bool(truth) => Parameter::Boolean(*truth),
            Json::Number(_) => Parameter::Number(&self.json[name]),
            Json::String(_) => Parameter::Text(self.parameters[name].as_str().expect("a text")),
            Json::Array(_) => Parameter::List(&self.json[name]),
            Json::Object(_) => Parameter::Compound,
        };
        Some(self.parameters.iter().map(|one| (one.0.as_str(), parameter(one))).collect())
    }

    fn wrap_ttl(&self) -> Option<Duration> {
        self.wrap_ttl
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!("{{\"path\": {rules}}}");
    Policy::parse("test".parse().expect("a name"), "test.json", &text).expect("a policy")
}

struct Question<'t> {
    capability: Capability,
    path: &'t str,
    sent: Sent,
    expected: bool,
}

fn question(line: &str) -> Question<'_> {
    let (question, expected) = line.rsplit_once(": ").expect("an answer");
    let (question, wrap_ttl) = match question.rsplit_once(" wrap ") {
        Some((question, seconds)) => (question, Some(seconds.parse().expect("seconds"))),
        None => (question, None),
    };
    let mut words = question.splitn(3, ' ');
    let mut word = || words.next().expect("a word");
    let (capability, path) = (word().parse().expect("a capability"), word());
    let sent = Sent::new(serde_json::from_str(word()).expect("parameters"), wrap_ttl);
    Question { capability, path, sent, expected: expected == "yes" }
}

#[test]
fn requests_are_answered_by_the_documented_rules() {
    let table = include_str!("../../tests/vault/requests.txt");
    let (mut policies, mut are_complete, mut count) = (Vec::new(), true, 0);
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rules) = line.strip_prefix("policy ") {
            if are_complete {
                policies.clear();
            }
            policies.push(policy(rules));
            are_complete = false;
            continue;
        }
        (are_complete, count) = (true, count + 1);
        let Question { capability, path, sent, expected } = question(line);
        for policies in [policies.clone(), policies.iter().rev().cloned().collect()] {
            let answer = Acl::new(&policies).on(&sent).check(path, capability);
            assert_eq!(answer.is_ok(), expected, "{line} under {policies:#?}");
        }
    }
    assert!(count >= 150, "{count}");
}

#[test]
fn a_request_whose_parameters_are_no_longer_known_is_refused_where_they_matter() {
    struct Taken;
    impl Request for Taken {
        fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
            None
        }
        fn wrap_ttl(&self) -> Option<Duration> {
            None
        }
    }
    let allowed = |rule: &str| {
        let policy = policy(&format!("{{\"a\": {{\"capabilities\": [\"update\"]{rule}}}}}"));
        Acl::new([&policy]).on(Taken).check("a", Capability::Update).is_ok()
    };
    assert!(allowed(""));
    assert!(!allowed(r#", "denied_parameters": {"x": []}"#));
    assert!(!allowed(r#", "allowed_parameters": {"*": []}"#));
}

#[test]
fn an_allowed_value_that_ends_in_a_comma_and_a_star_lets_any_part_follow() {
    let allowed = |value: &str, sent: &str| {
        let rules = serde_json::json!({"a": {"capabilities": ["update"], "allowed_parameters": {"who": [value]}}});
        let sent = Sent::new([("who".to_owned(), Json::from(sent))].into(), None);
        let policy = policy(&rules.to_string());
        Acl::new([&policy]).on(&sent).check("a", Capability::Update).is_ok()
    };
    for value in ["Team A, *", "Team A,*"] {
        assert!(allowed(value, "Team A, b") && allowed(value, "Team A, b,c"), "{value}");
        assert!(!allowed(value, "Team B, b") && !allowed(value, "x,Team A, b"), "{value}");
    }
    for (value, sent) in [
        ("dev-*", "dev-x,admin"),
        ("a,dev-*", "a,dev-x,admin"),
        ("dev-*,x", "dev-y,x"),
        ("*,x", "admin,x"),
        ("*a,*", "admin,a,x"),
        (",*", "admin"),
    ] {
        assert!(!allowed(value, sent), "{value}");
    }
}

#[test]
fn a_template_in_a_value_is_what_the_client_is_called_and_never_a_glob() {
    let rules = r#"{"a": {"capabilities": ["update"],
        "allowed_parameters": {"who": ["{{identity.entity.name}}", "{{identity.entity.name}}-*"]}}}"#;
    let policy = policy(rules);
    assert!(policy.is_templated());
    let allowed = |name: &str, who: &str| {
        let identity = Identity { name: name.into(), ..Identity::default() };
        let sent = Sent::new([("who".to_owned(), Json::from(who))].into(), None);
        Acl::of([&policy], &identity).on(&sent).check("a", Capability::Update).is_ok()
    };
    assert!(allowed("bob", "bob") && allowed("bob", "bob-2"));
    assert!(!allowed("bob", "alice"));
    assert!(!allowed("b*", "bob") && !allowed("b*", "b*"), "the rule is void");
    assert!(!allowed("bob,root", "bob,root"), "a list of two");
    assert!(!allowed("", ""), "the rule is void");
}

#[test]
fn a_denied_truth_value_is_denied_however_it_is_written() {
    let allowed = |denied: bool, who: Json| {
        let lists = format!("{{\"who\": [{denied}]}}");
        let rules = format!(
            "{{\"a\": {{\"capabilities\": [\"update\"], \"denied_parameters\": {lists}}}}}"
        );
        let sent = Sent::new([("who".to_owned(), who)].into(), None);
        Acl::new([&policy(&rules)]).on(&sent).check("a", Capability::Update).is_ok()
    };
    for text in ["0", "f", "F", "false", "FALSE"] {
        assert!(!allowed(false, text.into()) && allowed(true, text.into()), "{text}");
    }
    for text in ["1", "t", "T", "true", "True"] {
        assert!(!allowed(true, text.into()) && allowed(false, text.into()), "{text}");
    }
    assert!(!allowed(false, false.into()) && !allowed(false, 0.into()));
    assert!(!allowed(true, true.into()) && !allowed(true, 1.into()));
    assert!(allowed(true, "no".into()) && allowed(false, "no".into()));
}

#[test]
fn a_denied_value_is_denied_in_every_form_that_an_endpoint_reads_as_it() {
    let allowed = |denied: Json, sent: Json| {
        let lists = serde_json::json!({ "x": [denied] });
        let rules = format!(
            "{{\"a\": {{\"capabilities\": [\"update\"], \"denied_parameters\": {lists}}}}}"
        );
        let sent = Sent::new([("x".to_owned(), sent)].into(), None);
        Acl::new([&policy(&rules)]).on(&sent).check("a", Capability::Update).is_ok()
    };
    use serde_json::json;
    for (denied, forms) in [
        (
            json!("admin"),
            json!([
                "admin",
                "ADMIN",
                " admin\t",
                "admin,x",
                "x , Admin",
                ["admin"],
                ["x", " ADMIN"],
                ["x", ["y"]],
                [{}],
                {}
            ]),
        ),
        (json!("1h"), json!(["1h", "60m", 3600, "3600", "3600s", "0.5h30m", "+1h", ["60m"]])),
        (json!(3600), json!([3600, "1h", "0xe10", 3.6e3])),
        (json!("24h"), json!(["1d", 86400, "1440m0s"])),
        (json!(0), json!([0, "", null, false, "0s", []])),
        (json!("true"), json!(["true", true, "T", 1, "1", ["True"]])),
        (json!("1"), json!([true, "t", 1.0, "01"])),
        (json!(""), json!(["", " ", null, [], [null]])),
        (json!("dev-*"), json!(["dev-a", "x,Dev-b", ["dev-"]])),
        (json!("*-dev"), json!(["A-DEV", ["x", "b-dev "]])),
        (json!("*dev*"), json!(["aDEVb", ["x", "dev"]])),
        (json!("a,b"), json!(["a,b"])),
    ] {
        for form in forms.as_array().expect("forms") {
            assert!(!allowed(denied.clone(), form.clone()), "{denied} {form}");
        }
    }
    for (denied, others) in [
        (
            json!("admin"),
            json!(["administrator", "x,badmin", ["seal", "x"], "", null, [], 0, true]),
        ),
        (json!("1h"), json!(["1m", 60, "61m", 3601, "x", ["2h"]])),
        (json!("dev-*"), json!(["de", "xdev-a", "x, y"])),
        (json!(null), json!(["null", 0])),
    ] {
        for other in others.as_array().expect("others") {
            assert!(allowed(denied.clone(), other.clone()), "{denied} {other}");
        }
    }
    let many: Json = std::iter::repeat_n("x", 10_001).collect();
    assert!(!allowed(json!("admin"), many), "more than anybody looks at");
    assert!(!allowed(json!("admin"), "x,".repeat(10_000).into()), "the same");
}

/// Names that differ in case alone are one name to a rule.
#[test]
fn elements_are_counted_for_the_request_as_a_whole() {
    let rules = r#"{"a": {"capabilities": ["update"],
        "denied_parameters": {"x": ["admin"], "y": ["1h", 7]}}}"#;
    let policy = policy(rules);
    let allowed = |members: &[(&str, usize)]| {
        let list = |count: usize| -> Json { std::iter::repeat_n("x", count).collect() };
        let members = members.iter().map(|(name, count)| ((*name).to_owned(), list(*count)));
        let sent = Sent::new(members.collect(), None);
        Acl::new([&policy]).on(&sent).check("a", Capability::Update).is_ok()
    };
    assert!(allowed(&[("x", 5_000), ("y", 5_000), ("z", 50_000)]));
    assert!(!allowed(&[("x", 5_000), ("y", 5_001)]));
    assert!(!allowed(&[("xx", 1), ("x", 5_000), ("X", 5_001)]));
    assert!(allowed(&[("x", 10_000)]));
    let text = |count: usize| Json::from(vec!["x"; count].join(","));
    let texts = |one, other| {
        let members = [("y".to_owned(), text(one)), ("Y".to_owned(), text(other))];
        let sent = Sent::new(members.into(), None);
        Acl::new([&policy]).on(&sent).check("a", Capability::Update).is_ok()
    };
    assert!(texts(5_000, 5_000) && !texts(5_000, 5_001));
}

/// To read megabytes as a number takes time that a client must not cost.
#[test]
fn a_text_that_is_too_long_to_be_read_is_denied_where_it_begins_as_a_number() {
    let allowed = |denied: Json, text: String| {
        let lists = serde_json::json!({ "x": [denied] });
        let rules = format!(
            "{{\"a\": {{\"capabilities\": [\"update\"], \"denied_parameters\": {lists}}}}}"
        );
        let sent = Sent::new([("x".to_owned(), Json::from(text))].into(), None);
        Acl::new([&policy(&rules)]).on(&sent).check("a", Capability::Update).is_ok()
    };
    let long = [
        "0s".repeat(500_000),
        "1µs".repeat(100),
        "0".repeat(200),
        "-0x".to_owned() + &"0".repeat(200),
    ];
    for text in long {
        assert!(!allowed("1h".into(), text.clone()) && !allowed(7.into(), text.clone()));
        assert!(allowed("admin".into(), text), "no number is denied");
    }
    for text in ["A".repeat(1_000), "1Z".repeat(1_000), "0x".to_owned() + &"z".repeat(200)] {
        assert!(allowed("1h".into(), text), "no number");
    }
}

/// As floating-point numbers the two are one.
#[test]
fn whole_numbers_are_told_apart_to_their_last_digit() {
    let rules =
        r#"{"a": {"capabilities": ["update"], "denied_parameters": {"n": [9007199254740993]}}}"#;
    let policy = policy(rules);
    let allowed = |number: u64| {
        let sent = Sent::new([("n".to_owned(), Json::from(number))].into(), None);
        Acl::new([&policy]).on(&sent).check("a", Capability::Update).is_ok()
    };
    assert!(allowed(9_007_199_254_740_992) && !allowed(9_007_199_254_740_993));
}

#[test]
fn a_template_in_a_denied_value_denies_what_the_client_is_called() {
    let rules = r#"{"a": {"capabilities": ["update"],
        "denied_parameters": {"who": ["{{identity.entity.name}}"]}}}"#;
    let policy = policy(rules);
    let allowed = |who: &str| {
        let identity = Identity { name: "bob".into(), ..Identity::default() };
        let sent = Sent::new([("who".to_owned(), Json::from(who))].into(), None);
        Acl::of([&policy], &identity).on(&sent).check("a", Capability::Update).is_ok()
    };
    assert!(allowed("alice") && !allowed("bob"));
}

fn naive_glob(own: &str, text: &str) -> bool {
    let (begin, end) = (own.starts_with('*'), own.ends_with('*'));
    match own.len() {
        0 | 1 => own == text,
        length if begin && end => text.contains(&own[1..length - 1]),
        _ if begin => text.ends_with(&own[1..]),
        length if end => text.starts_with(&own[..length - 1]),
        _ => own == text,
    }
}

/// `BEGIN,*` with blanks before the star or not, and no star at the beginning.
fn naive_takes_any_part(own: &str) -> bool {
    let blanks_off: String = own.chars().filter(|one| !one.is_whitespace()).collect();
    !own.starts_with('*') && own.ends_with('*') && blanks_off.ends_with(",*")
}

fn naive_allowed(own: &Value, value: &Json) -> bool {
    match (own, value) {
        (Value::Text(Text { text: own, .. }), Json::String(text)) if text.contains(',') => {
            let is_each = || text.split(',').all(|one| naive_glob(own, one.trim()));
            **own == **text || naive_glob(own, text) && (naive_takes_any_part(own) || is_each())
        }
        (Value::Text(own), Json::String(text)) => naive_glob(&own.text, text),
        (Value::Boolean(own), Json::Bool(truth)) => own == truth,
        _ => false,
    }
}

/// Every text that an endpoint may make of the value; `None` if it may be anything.
fn readings(value: &Json) -> Option<Vec<String>> {
    let texts: Vec<String> = match value {
        Json::Null => vec![String::new()],
        Json::Bool(true) => vec!["true".into(), "1".into()],
        Json::Bool(false) => vec!["false".into(), "0".into()],
        Json::Number(number) => vec![number.to_string()],
        Json::String(text) => vec![text.clone()],
        Json::Array(list) if list.is_empty() => vec![String::new()],
        Json::Array(list) if list.iter().any(|one| one.is_array() || one.is_object()) => {
            return None;
        }
        // Each is one text, commas and all.
        Json::Array(list) => {
            let texts = list.iter().filter_map(|one| match one {
                Json::String(text) => Some(vec![text.clone()]),
                other => readings(other),
            });
            return Some(texts.flatten().collect());
        }
        Json::Object(_) => return None,
    };
    let parts = texts.iter().flat_map(|text| text.split(',')).map(ToOwned::to_owned);
    Some(parts.chain(texts.iter().cloned()).collect())
}

fn naive_denied(own: &Value, value: &Json) -> bool {
    let Some(readings) = readings(value) else { return true };
    readings.iter().any(|text| match own {
        Value::Text(Text { text: own, .. }) => {
            let plain = |text: &str| text.trim().to_lowercase();
            naive_glob(own, text) || naive_glob(&plain(own), &plain(text))
        }
        Value::Boolean(true) => ["true", "1"].contains(&text.trim().to_lowercase().as_str()),
        Value::Boolean(false) => ["", "0", "false"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    })
}

/// The rules once more, for one rule and in the order of Vault's source.
fn naive(constraints: &Constraints, sent: &Sent) -> bool {
    let among = |value: &Json, values: &[Value], is_it: fn(&Value, &Json) -> bool| {
        values.is_empty() || values.iter().any(|one| is_it(one, value))
    };
    if constraints.required.iter().any(|name| !sent.parameters.contains_key(&**name)) {
        return false;
    }
    if sent.parameters.is_empty() {
        return true;
    }
    if constraints.denied.contains_key("*") {
        return false;
    }
    for (name, value) in &sent.parameters {
        let denied = constraints.denied.get(name.to_lowercase().as_str());
        if denied.is_some_and(|values| among(value, values, naive_denied)) {
            return false;
        }
    }
    let all = constraints.allowed.contains_key("*");
    if constraints.allowed.is_empty() || all && constraints.allowed.len() == 1 {
        return true;
    }
    sent.parameters.iter().all(|(name, value)| {
        constraints
            .allowed
            .get(name.to_lowercase().as_str())
            .map_or(all, |known| among(value, known, naive_allowed))
    })
}

fn name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "*"])
}

fn values() -> impl Strategy<Value = Values> {
    let text = select(vec![
        "", "x", "y", "x*", "*y", "*", "**", "xy", "*X*", " Y ", "x,y", "x,*", "x, *", "*x,*",
        ",*", "x,y*",
    ]);
    let value = prop_oneof![
        8 => text.prop_map(|text| Value::Text(text.into())),
        1 => any::<bool>().prop_map(Value::Boolean),
    ];
    let lists = proptest::collection::btree_map(name(), vec(value, 0..3), 0..3);
    lists.prop_map(|lists| lists.into_iter().map(|(name, list)| (name.into(), list)).collect())
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let required = proptest::collection::btree_set(select(vec!["a", "b"]), 0..2);
    (values(), values(), required).prop_map(|(allowed, denied, required)| Constraints {
        allowed,
        denied,
        required: required.into_iter().map(Into::into).collect(),
        ..Constraints::default()
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    let words = vec![
        "", "x", "y", "xy", "yx", "*", "X", " y", "x,y", "x, y", "z, Y", "x,", ",x", "xx,y",
        "True", "0",
    ];
    let text = select(words).prop_map(Json::from);
    let nested =
        vec![Json::Null, true.into(), false.into(), 1.into(), Json::Object(<_>::default())];
    let scalar = prop_oneof![6 => text, 1 => select(nested)];
    let list = vec(scalar.clone(), 0..3).prop_map(Json::Array);
    let value = prop_oneof![6 => scalar, 2 => list];
    let name = select(vec!["a", "A", "b", "c", "*"]).prop_map(ToOwned::to_owned);
    hash_map(name, value, 0..4).prop_map(|parameters| Sent::new(parameters, None))
}

proptest! {
    #[test]
    fn parameters_are_checked_as_the_naive_reading_does(rule in constraints(), sent in sent()) {
        prop_assert_eq!(rule.admit(Capability::Update, &&sent), naive(&rule, &sent));
    }

    #[test]
    fn a_text_with_commas_is_allowed_as_the_naive_reading_does(
        pattern in (select(vec!["", "x", "x,", "x, ", "*x,", ","]), select(vec!["", "*", "y", "y*"])),
        text in (select(vec!["", "x", "x,", "x, ", "ax,", ","]), select(vec!["", "y", "x,y", "y,z"])),
    ) {
        let (pattern, text) = (pattern.0.to_owned() + pattern.1, text.0.to_owned() + text.1);
        let value = Value::Text(pattern.as_str().into());
        let naive = naive_allowed(&value, &Json::from(text.as_str()));
        prop_assert_eq!(value.allows(Parameter::Text(&text)), naive);
    }

    #[test]
    fn denying_more_parameters_never_widens(
        rule in constraints(),
        denied in values(),
        sent in sent(),
    ) {
        let narrower = rule.union(&Constraints { denied, ..Constraints::default() });
        let before = rule.admit(Capability::Update, &&sent);
        prop_assert!(before || !narrower.admit(Capability::Update, &&sent));
    }

    #[test]
    fn the_order_in_which_rules_are_added_up_does_not_matter(
        one in constraints(),
        other in constraints(),
        sent in sent(),
    ) {
        let forwards = one.union(&other).admit(Capability::Update, &&sent);
        prop_assert_eq!(forwards, other.union(&one).admit(Capability::Update, &&sent));
    }
}
