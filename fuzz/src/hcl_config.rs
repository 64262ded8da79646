use std::path::Path;

use selkie_config::{Config, Exposure, Problems, SourceError, Sources};
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

/// All that a configuration says, but where it says so, and keys.
fn said(config: &Config) -> String {
    let Config {
        realm, realm_aliases, logging, api_addr, cluster_name, pid_file, data_dir, ..
    } = config;
    let Config { lock_all_memory, listeners, seals, revoked_seals, storage, telemetry, .. } =
        config;
    let Config { mounts, keys, takeovers, auth, clients, leases, allow_faults, .. } = config;
    let policies: Vec<_> = config.policies.iter().map(|policy| policy.name()).collect();
    let first = (realm, realm_aliases, logging, api_addr, cluster_name, pid_file, data_dir);
    let second = (lock_all_memory, listeners, seals, revoked_seals, storage, telemetry);
    let third = (mounts, keys, takeovers, auth, clients, leases, allow_faults, policies);
    format!("{first:?} {second:?} {third:?}")
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

/// By hcl-rs; `None` for what it does not read.
fn written_anew(text: &str) -> Option<String> {
    hcl::to_string(&hcl::from_str::<hcl::Body>(text).ok()?).ok()
}
