use super::*;

fn certificate() -> ClientCertificate {
    ClientCertificate {
        fingerprint: Fingerprint::of(b"a"),
        chain_digest: [0; 32],
        subject: String::new(),
        common_name: Some("vault-a".into()),
        organizational_units: Vec::new(),
        dns_sans: vec!["a.example.com".into(), "b.example.com".into()],
        email_sans: vec!["ops@example.com".into()],
        uri_sans: vec!["spiffe://example.org/vault".into()],
        serial: vec![1],
        subject_key_id: None,
        authority_key_id: None,
        is_ca: false,
        public_key: Vec::new(),
        extensions: Vec::new(),
        not_before: 0,
        not_after: 0,
        chain_not_after: 0,
    }
}

fn globs(texts: &[&str]) -> Vec<Glob> {
    texts.iter().map(|text| Glob::new(text)).collect()
}

fn dns(texts: &[&str]) -> Rule {
    Rule { dns_san: globs(texts), ..Rule::default() }
}

fn cn(text: &str) -> Rule {
    Rule { common_name: globs(&[text]), ..Rule::default() }
}

fn sha(texts: &[&str]) -> Rule {
    let sha256 = texts.iter().map(|text| Fingerprint::of(text.as_bytes())).collect();
    Rule { sha256, ..Rule::default() }
}

fn spiffe(text: &str) -> Rule {
    Rule { spiffe_id: vec![text.parse().unwrap()], ..Rule::default() }
}

fn uri(text: &str) -> Rule {
    Rule { uri_san: globs(&[text]), ..Rule::default() }
}

#[test]
fn each_field_names_a_client_by_itself() {
    let email = Rule { email_san: globs(&["ops@*"]), ..Rule::default() };
    let rules = [
        sha(&["z", "a"]),
        spiffe("spiffe://example.org/vault"),
        dns(&["b.*"]),
        uri("spiffe://example.org/*"),
        email,
        cn("vault-?"),
        cn("vault-a"),
    ];
    let matched: Vec<_> = rules.iter().map(|rule| rule.matches(&certificate())).collect();
    assert_eq!(matched, [true, true, true, true, true, false, true], "? stands for itself");
}

#[test]
fn all_fields_must_match_and_one_entry_of_each() {
    let both =
        Rule { common_name: globs(&["vault-a"]), ..dns(&["x.example.com", "a.example.com"]) };
    assert!(both.matches(&certificate()));
    let other = Rule { common_name: globs(&["vault-b"]), ..both };
    assert!(!other.matches(&certificate()));
}

#[test]
fn an_empty_rule_names_nobody() {
    assert!(!Rule::default().matches(&certificate()));
}

#[test]
fn a_spiffe_id_counts_only_as_the_one_uri() {
    let rule = spiffe("spiffe://example.org/vault");
    let mut certificate = certificate();
    certificate.uri_sans.push("spiffe://example.org/other".into());
    assert!(!rule.matches(&certificate));
    certificate.uri_sans.clear();
    assert!(!rule.matches(&certificate));
}

#[test]
fn rules_that_can_be_seen_to_share_a_certificate_are_ambiguous() {
    let shared = [
        (sha(&["a", "b"]), sha(&["b", "c"])),
        (dns(&["a.example.com"]), dns(&["*.example.com"])),
        (dns(&["a", "b"]), dns(&["b", "c"])),
        (cn("vault-*"), cn("vault-a*")),
        (spiffe("spiffe://e/a"), uri("spiffe://*")),
        // Whatever is the first is the second as well.
        (Rule { common_name: globs(&["x"]), ..dns(&["a"]) }, dns(&["a"])),
    ];
    for (one, other) in shared {
        assert!(one.meets(&other) || other.meets(&one), "{one:?}");
        assert!(one.meets(&one));
    }
}

#[test]
fn rules_that_may_never_meet_are_not_ambiguous() {
    let apart = [
        (sha(&["a"]), sha(&["b"])),
        (dns(&["a"]), dns(&["b"])),
        (dns(&["a"]), cn("a")),
        (spiffe("spiffe://e/a"), spiffe("spiffe://e/b")),
        (cn("a*"), cn("b*")),
        (
            Rule { common_name: globs(&["x"]), ..dns(&["a"]) },
            Rule { common_name: globs(&["y"]), ..dns(&["a"]) },
        ),
        (Rule::default(), dns(&["a"])),
    ];
    for (one, other) in apart {
        assert!(!one.meets(&other) && !other.meets(&one), "{one:?}");
    }
}

fn full() -> Rule {
    Rule {
        sha256: vec![Fingerprint::of(b"a")],
        spiffe_id: vec!["spiffe://example.org/vault".parse().unwrap()],
        dns_san: globs(&["a.example.com"]),
        uri_san: globs(&["spiffe://example.org/vault"]),
        email_san: globs(&["ops@example.com"]),
        common_name: globs(&["vault-a"]),
    }
}

/// The full rule with one list each that names somebody else.
fn one_other() -> [Rule; 6] {
    let other = globs(&["other"]);
    [
        Rule { sha256: vec![Fingerprint::of(b"b")], ..full() },
        Rule { spiffe_id: vec!["spiffe://example.org/other".parse().unwrap()], ..full() },
        Rule { dns_san: other.clone(), ..full() },
        Rule { uri_san: other.clone(), ..full() },
        Rule { email_san: other.clone(), ..full() },
        Rule { common_name: other, ..full() },
    ]
}

#[test]
fn one_list_that_does_not_match_keeps_a_client_out() {
    assert!(full().matches(&certificate()), "control");
    assert!(!full().is_empty() && Rule::default().is_empty());
    for rule in one_other() {
        assert!(!rule.matches(&certificate()), "{rule:?}");
    }
}

#[test]
fn one_list_that_covers_nothing_keeps_two_rules_apart() {
    assert!(full().meets(&full()), "control");
    for rule in one_other() {
        // The SPIFFE id is a URI as well, so of both lists of URIs one may cover.
        let uris = Rule { spiffe_id: Vec::new(), ..full() };
        let one = if rule.uri_san == full().uri_san { full() } else { uris };
        assert!(!one.meets(&rule), "{rule:?}");
    }
}

#[test]
fn an_email_address_alone_is_ambiguous_with_a_wider_one() {
    let email = |text| Rule { email_san: globs(&[text]), ..Rule::default() };
    assert!(email("ops@example.com").meets(&email("*@example.com")));
    assert!(!email("ops@example.com").meets(&email("*@example.org")));
}
