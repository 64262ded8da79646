use selkie_access::{Acl, Bare, Capability, Policy, PolicyError};

/// Feeds the bytes to the reader of policies, and makes rules and questions of them, which are
/// answered here once more as Vault's documentation says it, rule by rule.
///
/// Rules: a byte of capabilities (the highest bit denies), a byte of shape, and a byte for each
/// segment; after a shape of 0 come the questions.
pub fn policy(data: &[u8]) -> bool {
    is_text_read(data)
        | agrees(data, |acl, path, capability| acl.on(Bare).check(path, capability).is_ok())
}

fn is_text_read(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    match Policy::parse("fuzz".parse().expect("a name"), "fuzz.hcl", text) {
        Ok(policy) => {
            let again = Policy::parse("fuzz".parse().expect("a name"), "fuzz.hcl", policy.text());
            assert_eq!(format!("{:?}", again.expect("its own text")), format!("{policy:?}"));
            true
        }
        Err(PolicyError::Hcl(problems)) => {
            let lines = text.split('\n').count();
            assert!(problems.iter().count() > 0, "refused without a problem");
            for problem in problems.iter() {
                assert!((1..=lines).contains(&problem.position.line), "{problem}");
            }
            false
        }
        Err(PolicyError::Json(_)) => {
            assert!(text.trim_start().starts_with('{'));
            false
        }
    }
}

const CAPABILITIES: [(&str, Capability); 7] = [
    ("create", Capability::Create),
    ("delete", Capability::Delete),
    ("list", Capability::List),
    ("patch", Capability::Patch),
    ("read", Capability::Read),
    ("sudo", Capability::Sudo),
    ("update", Capability::Update),
];

struct Rule {
    path: String,
    capabilities: u8,
}

impl Rule {
    const DENY: u8 = 0x80;

    fn text(&self) -> String {
        let named =
            CAPABILITIES.iter().enumerate().filter(|(bit, _)| self.capabilities >> bit & 1 == 1);
        let mut words: Vec<&str> = named.map(|(_, (name, _))| *name).collect();
        if self.capabilities & Self::DENY != 0 {
            words.push("deny");
        }
        format!("path {:?} {{\n  capabilities = {words:?}\n}}\n", self.path)
    }
}

pub(crate) fn agrees(data: &[u8], allows: impl Fn(&Acl, &str, Capability) -> bool) -> bool {
    let mut bytes = data.iter().copied();
    let mut rules = Vec::new();
    while let (Some(capabilities), Some(shape @ 1..)) = (bytes.next(), bytes.next()) {
        rules.push(Rule { path: path(shape, &mut bytes, true), capabilities });
    }
    let text: String = rules.iter().map(Rule::text).collect();
    let Ok(policy) = Policy::parse("fuzz".parse().expect("a name"), "fuzz.hcl", &text) else {
        assert!(rules.iter().any(|rule| rule.path.contains("+*")), "refused:\n{text}");
        return false;
    };
    let acl = Acl::new([&policy]);
    let mut any = false;
    while let (Some(choice), Some(shape)) = (bytes.next(), bytes.next()) {
        let (name, capability) = CAPABILITIES[usize::from(choice % 7)];
        let path = path(shape, &mut bytes, false);
        let expected = naive(&rules, &path, choice % 7);
        assert_eq!(
            allows(&acl, &path, capability),
            expected,
            "allowed otherwise: {name} on {path:?} by\n{text}"
        );
        any |= expected;
    }
    any
}

/// Up to four segments, and perhaps a wildcard at the end.
fn path(shape: u8, bytes: &mut impl Iterator<Item = u8>, is_rule: bool) -> String {
    let segments: Vec<&str> = (0..=shape % 4)
        .filter_map(|_| bytes.next())
        .map(|byte| match (byte % 6, is_rule) {
            (0 | 1, true) => "+",
            (0 | 2, _) => "a",
            (1 | 3, _) => "b",
            (4, _) => "ab",
            _ => "",
        })
        .collect();
    let end = if is_rule && shape & 4 != 0 { "*" } else { "" };
    segments.join("/") + end
}

/// An exact path goes first, then of the patterns that match the one of the highest priority; rules
/// of one path add up, and a denial wins.
fn naive(rules: &[Rule], path: &str, capability: u8) -> bool {
    let is_list = capability == 2;
    let path = if is_list && !path.ends_with('/') { format!("{path}/") } else { path.to_owned() };
    let path = path.trim_start_matches('/');
    let rule_path = |rule: &Rule| rule.path.strip_prefix('/').unwrap_or(&rule.path).to_owned();
    let exact =
        |path: &str| rules.iter().map(rule_path).find(|rule| !is_pattern(rule) && rule == path);
    let best = |path: &str| {
        let matching =
            rules.iter().map(rule_path).filter(|rule| is_pattern(rule) && matches(rule, path));
        matching.max_by_key(|rule| priority(rule))
    };
    let chosen = match path.strip_suffix('/').filter(|_| is_list) {
        None => exact(path).or_else(|| best(path)),
        Some(bare) => {
            exact(path).or_else(|| exact(bare)).or_else(|| best(bare)).or_else(|| best(path))
        }
    };
    let Some(chosen) = chosen else { return false };
    let all = rules.iter().filter(|rule| rule_path(rule) == chosen);
    let sum = all.fold(0, |sum, rule| sum | rule.capabilities);
    sum & Rule::DENY == 0 && sum >> capability & 1 == 1
}

fn is_pattern(rule: &str) -> bool {
    rule.ends_with('*') || rule.split('/').any(|segment| segment == "+")
}

fn matches(rule: &str, path: &str) -> bool {
    let (rule, is_prefix) = rule.strip_suffix('*').map_or((rule, false), |rule| (rule, true));
    let (wanted, found): (Vec<&str>, Vec<&str>) =
        (rule.split('/').collect(), path.split('/').collect());
    let (last, others) = wanted.split_last().expect("there is one");
    if found.len() < wanted.len() || (!is_prefix && found.len() > wanted.len()) {
        return false;
    }
    let fits = |(wanted, found): (&&str, &&str)| *wanted == "+" || wanted == found;
    let at_last = found[others.len()];
    others.iter().zip(&found).all(fits)
        && match is_prefix {
            true => at_last.starts_with(last),
            false => fits((last, &at_last)),
        }
}

type Priority = (usize, bool, std::cmp::Reverse<usize>, usize, String);

/// The documentation's list, the other way round.
fn priority(rule: &str) -> Priority {
    let bare = rule.strip_suffix('*').unwrap_or(rule);
    let pluses = bare.split('/').filter(|segment| *segment == "+").count();
    let first = bare.find('+').unwrap_or(bare.len());
    (first, bare == rule, std::cmp::Reverse(pluses), bare.len(), bare.to_owned())
}
