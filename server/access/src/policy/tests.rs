use proptest::prelude::*;

use super::*;
use crate::acl::Acl;

fn name() -> PolicyName {
    "seal-client".parse().expect("a name")
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(name(), "p.hcl", text)
}

/// What the policy `{text}` allows on `a`.
fn capabilities(text: &str) -> Vec<&'static str> {
    Acl::new([&parse(text).expect("a policy")]).capabilities("a")
}

fn problem(text: &str) -> String {
    parse(text).expect_err("a problem").to_string()
}

#[test]
fn hcl_policy_is_read() {
    let text = "
        # The key that unseals.
        name = \"ignored\"
        path \"a\" {
            comment      = \"why\"
            capabilities = [\"read\", \"update\",]
        }
        path \"b\" { capabilities = [] }
    ";
    assert_eq!(capabilities(text), ["read", "update"]);
    assert_eq!(parse(text).expect("a policy").name(), &name());
}

#[test]
fn a_policy_keeps_its_text_and_place() {
    let text = "path \"a\" { policy = \"read\" }\n";
    let policy = parse(text).expect("a policy");
    assert_eq!((policy.text(), policy.place()), (text, "p.hcl"));
    assert_eq!((Policy::root().text(), Policy::root().place()), ("", ""));
    let default = Policy::default_policy();
    let again = parse(default.text()).expect("what the default policy tells is a policy");
    for path in ["auth/token/lookup-self", "auth/token/renew-self", "sys/mounts"] {
        let answer = |policy| Acl::new([policy]).capabilities(path);
        assert_eq!(answer(&again), answer(&default), "{path}");
    }
}

#[test]
fn only_a_policy_with_a_template_is_templated() {
    let is_templated = |text| parse(text).expect("a policy").is_templated();
    assert!(is_templated("path \"a/{{identity.entity.name}}\" { policy = \"read\" }"));
    assert!(is_templated(
        "path \"a\" { denied_parameters = { \"b\" = [\"{{identity.entity.name}}\"] } }"
    ));
    assert!(!is_templated("path \"a\" { allowed_parameters = { \"b\" = [\"c\"] } }"));
    assert!(!is_templated("path \"a\" { policy = \"read\" }"));
    assert!(!Policy::root().is_templated());
}

#[test]
fn a_policy_with_a_path_by_what_no_login_is_called_is_known() {
    let names_no_login = |path: &str, rule: &str| {
        parse(&format!("path \"{path}\" {{\n{rule}\n}}")).expect("a policy").names_no_login()
    };
    let (deny, read) = ("capabilities = [\"deny\"]", "capabilities = [\"read\"]");
    let required = "capabilities = [\"update\"]\nrequired_parameters = [\"a\"]";
    for path in ["a/{{token.display_name}}", "a/{{identity.entity.name}}/*"] {
        for rule in [deny, read, required] {
            assert!(names_no_login(path, rule), "{path} {rule}");
        }
    }
    assert!(!names_no_login("a/{{identity.entity.aliases.b.name}}", deny));
    assert!(!names_no_login("a", deny));
    assert!(!Policy::root().names_no_login());
}

#[test]
fn the_exact_paths_of_a_policy_are_those_without_wildcards_and_templates() {
    let rule = |path| format!("path \"{path}\" {{ policy = \"read\" }}\n");
    let paths = ["b/1", "a/*", "a/+/c", "{{identity.entity.name}}", "a"];
    let policy = parse(&paths.map(rule).concat()).expect("a policy");
    let mut exact: Vec<_> = policy.exact_paths().collect();
    exact.sort_unstable();
    assert_eq!(exact, ["a", "b/1"]);
    assert_eq!(Policy::root().exact_paths().count(), 0);
}

#[test]
fn json_policy_is_read() {
    let text = r#" {"name": "ignored", "path": {
        "a": {"comment": "why", "capabilities": ["read", "update"]}, "b": {}}}"#;
    assert_eq!(capabilities(text), ["read", "update"]);
    assert_eq!(capabilities("{}"), ["deny"]);
}

#[test]
fn empty_policy_allows_nothing() {
    assert_eq!(capabilities(""), ["deny"]);
    assert_eq!(capabilities("path \"a\" {}"), ["deny"]);
}

#[test]
fn legacy_policy_words_mean_what_they_mean_in_vault() {
    let cases: [(&str, &[&str]); 4] = [
        ("deny", &["deny"]),
        ("read", &["list", "read"]),
        ("write", &["create", "delete", "list", "read", "update"]),
        ("sudo", &["create", "delete", "list", "read", "sudo", "update"]),
    ];
    for (word, expected) in cases {
        let hcl = format!("path \"a\" {{ policy = {word:?} }}");
        let json = format!("{{\"path\": {{\"a\": {{\"policy\": {word:?}}}}}}}");
        assert_eq!(capabilities(&hcl), expected);
        assert_eq!(capabilities(&json), expected);
    }
}

#[test]
fn legacy_word_and_capabilities_add_up() {
    let text = "path \"a\" {\n policy = \"read\"\n capabilities = [\"sudo\"]\n}";
    assert_eq!(capabilities(text), ["list", "read", "sudo"]);
    let text = "path \"a\" {\n policy = \"write\"\n capabilities = [\"deny\"]\n}";
    assert_eq!(capabilities(text), ["deny"]);
}

#[test]
fn repeated_paths_in_a_policy_add_up() {
    let hcl = "path \"a\" { policy = \"read\" }\npath \"a\" { policy = \"deny\" }";
    assert_eq!(capabilities(hcl), ["deny"]);
    let json = r#"{"path": {"a": {"policy": "read"}, "a": {"policy": "deny"}}}"#;
    assert_eq!(capabilities(json), ["deny"]);
}

#[test]
fn whatever_narrows_a_rule_is_refused_never_ignored() {
    for field in REFUSED_FIELDS {
        let expected = format!(
            "{field} is not supported, and without it the rule would allow more than it says"
        );
        let hcl = format!("path \"a\" {{\n  {field} = []\n}}\n");
        assert_eq!(problem(&hcl), format!("p.hcl:2:3: {expected}"));
        let block = format!("path \"a\" {{\n  {field} {{}}\n}}\n");
        assert_eq!(problem(&block), format!("p.hcl:2:3: {expected}"));
        let json = format!("{{\"path\": {{\"a\": {{\"{field}\": 1}}}}}}");
        assert!(problem(&json).starts_with(&format!("{expected} at line 1 column ")), "{field}");
    }
}

#[test]
fn hcl_problems_say_where_and_what() {
    let cases = [
        (
            "path \"a\" { capabilities = [\"reed\"] }",
            "p.hcl:1:28: not a capability; \
             there are create, delete, deny, list, patch, read, sudo and update",
        ),
        (
            "path \"a\" { policy = \"admin\" }",
            "p.hcl:1:21: not a policy; there are read, write, sudo and deny",
        ),
        (
            "path \"a/+*\" { policy = \"read\" }",
            "p.hcl:1:6: \"+*\" is not allowed in a policy path",
        ),
        (
            "path \"a/{{identity.entity.name\" { policy = \"deny\" }",
            "p.hcl:1:6: \"{{\" and \"}}\" do not come in pairs",
        ),
        (
            "path \"a\" {\n  allowed_parameters = { \"b\" = [[]] }\n}",
            "p.hcl:2:33: field \"allowed_parameters\": expected strings, numbers, true and false in \
             the list, found a list",
        ),
        (
            "path \"a\" {\n  min_wrapping_ttl = \"2h\"\n  max_wrapping_ttl = 60\n}",
            "p.hcl:1:1: max_wrapping_ttl cannot be less than min_wrapping_ttl",
        ),
        (
            "path \"a\" {\n  denied_parameters = { \"B\" = [], b = [] }\n}",
            "p.hcl:2:23: parameter \"b\" is there twice; upper and lower case are the same",
        ),
        (
            "path \"a\" {\n  min_wrapping_ttl = \"soon\"\n}",
            "p.hcl:2:22: min_wrapping_ttl: expected a duration such as \"90s\", \"1h30m\" or a \
             number of seconds",
        ),
        (
            "path \"a\" { capabilites = [\"deny\"] }",
            "p.hcl:1:12: unknown field \"capabilites\" in path \"a\"; \
             did you mean \"capabilities\"?",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problem(text), expected);
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let hcl = [
        "path \"a\" { capabilities = \"read\" }",
        "path \"a\" { capabilities = [1] }",
        "path \"a\" { policy = [\"read\"] }",
        "path { policy = \"read\" }",
        "path \"a\" \"b\" { policy = \"read\" }",
        "path = \"a\"",
        "name = 1",
        "rule \"a\" { policy = \"read\" }",
        "path \"a\" {\n policy = \"read\"\n policy = \"deny\"\n}",
        "path \"a\" {",
        "path \"a\" { capabilities = [\"root\"] }",
        "path \"a\" { capabilities = [\"Read\"] }",
    ];
    let json = [
        r#"{"path": {"a": {"capabilities": "read"}}}"#,
        r#"{"path": {"a": {"capabilities": [1]}}}"#,
        r#"{"path": {"a": {"capabilities": ["reed"]}}}"#,
        r#"{"path": {"a": {"capabilities": ["root"]}}}"#,
        r#"{"path": {"a": {"policy": ["read"]}}}"#,
        r#"{"path": {"a": {"policy": "admin"}}}"#,
        r#"{"path": {"a": {"capabilites": ["deny"]}}}"#,
        r#"{"path": {"a": {"capabilities": ["deny"], "capabilities": ["read"]}}}"#,
        r#"{"path": {"a": {"policy": "deny", "policy": "read"}}}"#,
        r#"{"path": {"a": []}}"#,
        r#"{"path": ["a"]}"#,
        r#"{"path": {"a/+*": {}}}"#,
        r#"{"path": {"a/{{x}}": {}}}"#,
        r#"{"path": {}, "path": {}}"#,
        r#"{"rules": {}}"#,
        r#"{"name": 1}"#,
        r#"{} {}"#,
        "{",
    ];
    for text in hcl.into_iter().chain(json) {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_should_stand_where_json_is_of_another_shape_is_told() {
    for (text, expected) in [
        (r#"{"path": ["a"]}"#, "expected an object of paths"),
        (r#"{"path": {"a": []}}"#, "expected an object with capabilities"),
        (r#"{"path": {"a": {"allowed_parameters": []}}}"#, "expected an object of lists"),
    ] {
        assert!(problem(text).contains(expected), "{}", problem(text));
    }
}

#[test]
fn the_shortest_and_the_longest_wrapping_time_may_be_the_same() {
    let with = |min: u32, max: u32| {
        let both = format!("\"min_wrapping_ttl\": {min}, \"max_wrapping_ttl\": {max}");
        parse(&format!("{{\"path\": {{\"a\": {{{both}}}}}}}")).is_ok()
    };
    assert!(with(60, 60) && with(60, 61));
    assert!(!with(60, 59));
}

#[test]
fn all_hcl_problems_are_told_together() {
    let text = "path \"a\" { policy = \"x\" }\npath \"b\" { policy = \"y\" }\n";
    assert_eq!(problem(text).matches("not a policy").count(), 2);
}

#[test]
fn section_of_a_configuration_is_read_as_a_policy() {
    let text = "policy \"p\" {\n  path \"a\" { policy = \"read\" }\n}\n";
    let document = Document::parse("c.hcl", text).expect("HCL");
    let mut root = document.root();
    for (_, mut section) in root.labelled("policy") {
        let policy = Policy::from_section(name(), &mut section).expect("a policy");
        section.finish();
        assert_eq!(Acl::new([&policy]).capabilities("a"), ["list", "read"]);
        assert_eq!(policy.text(), "path \"a\" { policy = \"read\" }");
        assert_eq!(policy.place(), "c.hcl:1:1");
    }
    root.finish();
    document.finish().expect("no problems");
}

#[test]
fn section_with_a_problem_yields_no_policy() {
    let text = "policy \"p\" {\n  path \"a\" { policy = \"dennied\" }\n  path \"*\" {}\n}\n";
    let document = Document::parse("c.hcl", text).expect("HCL");
    let mut root = document.root();
    for (_, mut section) in root.labelled("policy") {
        assert!(Policy::from_section(name(), &mut section).is_none());
        section.finish();
    }
    root.finish();
    assert!(document.finish().is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        drop(parse(&text));
        drop(parse(&format!("{{{text}")));
    }

    #[test]
    fn hcl_and_json_say_the_same(
        path in "[a+/*]{0,6}",
        words in proptest::collection::vec("(read|update|deny|list|bad)", 0..3),
        asked in "[a/]{0,6}",
    ) {
        let hcl = parse(&format!("path {path:?} {{ capabilities = {words:?} }}"));
        let json = parse(&format!("{{\"path\": {{{path:?}: {{\"capabilities\": {words:?}}}}}}}"));
        let answer = |policy: Policy| Acl::new([&policy]).capabilities(&asked);
        prop_assert_eq!(hcl.ok().map(answer), json.ok().map(answer));
    }
}
