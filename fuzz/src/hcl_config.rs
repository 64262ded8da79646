use std::path::Path;

use selkie_access::Policy;
use selkie_config::{Config, Exposure, Problems, SourceError, Sources};
use selkie_crypto::{AuditKey, OriginKey, PinKey};
use zeroize::Zeroizing;

/// Secrets that are there for every name, each another one, and one text that is.
#[derive(Debug)]
struct EverySource;

fn named(name: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(selkie_crypto::sha256(name).to_vec())
}

impl Sources for EverySource {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        (!name.starts_with("NO")).then(|| named(name.as_bytes()))
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        match path.starts_with("/keys") {
            true => Ok(named(path.as_os_str().as_encoded_bytes())),
            false => Err(SourceError::Missing),
        }
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        let text = "path \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n";
        path.starts_with("/etc").then(|| text.to_owned()).ok_or(SourceError::Missing)
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        path.ends_with("exposed").then_some(Exposure::Everyone { mode: 0o644 })
    }
}

/// Feeds the bytes to the reader of configurations.
///
/// Every problem stands inside the text, in order; what is accepted is accepted again, and says the
/// same once another program has written it down anew.
pub fn hcl_config(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    says_the_same(text, |text| match Config::parse("x", text, &EverySource) {
        Ok(config) => Ok(said(&config)),
        Err(problems) => {
            is_located(text, &problems);
            Err(problems.to_string())
        }
    })
}

fn is_located(text: &str, problems: &Problems) {
    let own: Vec<_> =
        problems.iter().filter(|one| &*one.file == "x").map(|one| one.position).collect();
    let lines: Vec<&str> = text.split('\n').collect();
    assert!(problems.iter().count() > 0, "refused without a problem");
    assert!(own.is_sorted(), "{problems}");
    for position in own {
        let line = position.line.checked_sub(1).and_then(|at| lines.get(at));
        let line = line.unwrap_or_else(|| panic!("outside of the text: {problems}"));
        assert!((1..=line.chars().count() + 1).contains(&position.column), "{problems}");
    }
}

/// All that a configuration says, but where it says so. No member is left out, so one that is added
/// does not compile until it stands here. Of a key, what tells it from others.
pub(crate) fn said(config: &Config) -> String {
    let Config {
        realm,
        realm_aliases,
        origin_key,
        logging,
        api_addr,
        cluster_name,
        pid_file,
        data_dir,
        ..
    } = config;
    let Config { local_key, lock_all_memory, sandbox, listeners, seals, revoked_seals, .. } =
        config;
    let Config { storage, audit, alerts, telemetry, mounts, keys, takeovers, auth, .. } = config;
    let Config {
        realm: _,
        realm_aliases: _,
        origin_key: _,
        logging: _,
        api_addr: _,
        cluster_name: _,
        pid_file: _,
        data_dir: _,
        local_key: _,
        lock_all_memory: _,
        sandbox: _,
        listeners: _,
        seals: _,
        revoked_seals: _,
        storage: _,
        audit: _,
        alerts: _,
        telemetry: _,
        mounts: _,
        keys: _,
        takeovers: _,
        auth: _,
        clients,
        policies,
        leases,
        allow_faults,
        faults,
        warnings,
    } = config;
    let derived = |key: &OriginKey| key.audit_key().expect("a page").id();
    let secrets = (
        origin_key.as_ref().map(derived),
        local_key.as_ref().map(PinKey::id),
        audit.key.as_ref().map(AuditKey::id),
    );
    let warnings: Vec<_> = warnings.iter().map(|warning| (&warning.file, &warning.kind)).collect();
    let first = (realm, realm_aliases, logging, api_addr, cluster_name, pid_file, data_dir);
    let second = (lock_all_memory, listeners, seals, revoked_seals, storage, telemetry);
    let third = (mounts, keys, takeovers, auth, clients, leases, allow_faults, faults);
    let fourth = (secrets, sandbox, &audit.devices, alerts, warnings);
    let policies: Vec<_> = policies.iter().map(rules).collect();
    format!("{first:?} {second:?} {third:?} {fourth:?} {policies:?}")
}

/// What a policy says of each path, without its layout and comments.
fn rules(policy: &Policy) -> String {
    let text = format!("{policy:?}");
    let (_, rules) = text.split_once(" rules: ").expect("it has rules");
    format!("{}: {rules}", policy.name())
}

pub(crate) fn says_the_same(text: &str, read: impl Fn(&str) -> Result<String, String>) -> bool {
    let first = read(text);
    assert_eq!(first, read(text), "the same text was read otherwise");
    let Ok(said) = first else { return false };
    if let Some(anew) = written_anew(text) {
        assert_eq!(read(&anew).as_ref(), Ok(&said), "written anew:\n{anew}");
    }
    true
}

/// One line more, or another one, and the configuration says something else.
#[test]
fn what_is_said_otherwise_in_any_member_is_seen() {
    let said = |text: &str| match Config::parse("x", text, &EverySource) {
        Ok(config) => said(&config),
        Err(problems) => panic!("{problems}\n{text}"),
    };
    let policy = |path: &str| {
        format!("policy \"p\" {{\n  path \"{path}\" {{ capabilities = [\"read\"] }}\n}}\n")
    };
    let audit = |path: &str| {
        format!("audit_key = \"file:///keys/a\"\naudit \"file\" {{\n  file_path = \"{path}\"\n}}\n")
    };
    let lines = [
        String::new(),
        "sandbox = \"off\"\n".to_owned(),
        "sandbox = \"required\"\n".to_owned(),
        "origin_key = \"file:///keys/a\"\n".to_owned(),
        "origin_key = \"file:///keys/b\"\n".to_owned(),
        "local_key = \"file:///keys/a\"\n".to_owned(),
        "local_key = \"file:///keys/b\"\n".to_owned(),
        "audit_key = \"file:///keys/b\"\n".to_owned(),
        audit("/var/log/one"),
        audit("/var/log/two"),
        policy("transit/a"),
        policy("transit/b"),
        "alerts {\n  learning = \"1h\"\n}\n".to_owned(),
        "alerts {\n  learning = \"2h\"\n}\n".to_owned(),
    ];
    let small = include_str!("../corpus/hcl_config/small");
    let all: Vec<String> = lines.iter().map(|line| said(&format!("{line}{small}"))).collect();
    for (number, one) in all.iter().enumerate() {
        let same = all.iter().position(|other| other == one);
        assert_eq!(same, Some(number), "{} says what {} says", lines[number], lines[same.unwrap()]);
    }
}

/// By hcl-rs; `None` for what it does not read.
fn written_anew(text: &str) -> Option<String> {
    hcl::to_string(&hcl::from_str::<hcl::Body>(text).ok()?).ok()
}
