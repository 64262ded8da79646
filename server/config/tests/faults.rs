//! Scripts of faults: the examples of the documentation, and files under `tests/data/faults` whose
//! comments at the end (`#! LINE:COLUMN: message`) are what must be told about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selkie_config::{
    Calls, Faults, FaultyOperation, RequestOutcome, SealOperation, SealOutcome, WarningKind, Window,
};

fn files(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[test]
fn every_mistake_in_a_script_is_told_where_it_stands() {
    let mut wrong = String::new();
    let scripts = files("tests/data/faults");
    assert!(scripts.len() >= 4, "{scripts:?}");
    for path in scripts {
        let text = fs::read_to_string(&path).expect("reads");
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        let told =
            Faults::parse("x", &text).map_or_else(|problems| problems.to_string(), |_| "".into());
        let told: Vec<_> = told.lines().map(|l| l.strip_prefix("x:").unwrap_or(l)).collect();
        if told != expected || told.is_empty() {
            wrong += &format!("\n{}\n#! {}\n", path.display(), told.join("\n#! "));
        }
    }
    assert!(wrong.is_empty(), "told otherwise than expected:\n{wrong}");
}

#[test]
fn every_example_of_the_documentation_is_a_script() {
    let examples = files("../../docs/examples/faults");
    assert!(examples.len() >= 5, "{examples:?}");
    for path in examples {
        let text = fs::read_to_string(&path).expect("reads");
        let faults = Faults::parse(&path.display().to_string(), &text);
        assert!(faults.is_ok(), "{}", faults.unwrap_err());
    }
}

#[test]
fn a_script_reads_as_written() {
    let text = r#"
        seed = 7
        fault "one" {
          on       = ["encrypt", "any"]
          key      = "autounseal"
          client   = "vault"
          accessor = "abc"
          every    = 3
          from     = "1s"
          until    = "2s"
          repeat   = "1m"
          delay    = "250ms"
          status   = 403
          error    = "no"
        }
        fault "two" {
          on        = "decrypt"
          plaintext = "wrong"
        }
        seal_fault "three" {
          seal   = "azurekeyvault"
          on     = ["unwrap"]
          answer = "throttled"
          first  = 2
        }
    "#;
    let faults = Faults::parse("x", text).expect("is sound");
    let ([one, two], [three]) = (&faults.requests[..], &faults.seals[..]) else {
        panic!("{faults:?}")
    };
    let second = Duration::from_secs(1);
    assert_eq!((faults.seed, one.on.len()), (7, 0), "any is all");
    assert_eq!(one.key.as_ref().map(|key| key.as_str()), Some("autounseal"));
    assert_eq!((one.client.as_deref(), one.accessor.as_deref()), (Some("vault"), Some("abc")));
    assert_eq!((one.when.calls, one.delay), (Calls::Every(3), second / 4));
    let window = Window { from: second, until: Some(second * 2), repeat: Some(second * 60) };
    assert_eq!(one.when.window, window);
    let refused = RequestOutcome::Status { status: 403, error: Some("no".into()) };
    assert_eq!(one.outcome, refused);
    assert_eq!(
        (&two.on[..], &two.outcome),
        (&[FaultyOperation::Decrypt][..], &RequestOutcome::WrongPlaintext)
    );
    assert_eq!(three.seal.as_ref().map(|seal| seal.as_str()), Some("azurekeyvault"));
    assert_eq!(
        (&three.on[..], three.outcome),
        (&[SealOperation::Unwrap][..], SealOutcome::Throttled)
    );
    assert_eq!((three.when.calls, three.when.window), (Calls::First(2), Window::default()));
}

#[test]
fn windows_open_and_close_as_they_say() {
    let ms = Duration::from_millis;
    let once = Window { from: ms(100), until: Some(ms(200)), repeat: None };
    let again = Window { repeat: Some(ms(1000)), ..once };
    let seen = |window: Window| {
        [0, 99, 100, 199, 200, 1099, 1100, 1199, 1200].map(|at| window.includes(ms(at)))
    };
    assert_eq!(seen(once), [false, false, true, true, false, false, false, false, false]);
    assert_eq!(seen(again), [false, false, true, true, false, false, true, true, false]);
    assert!(Window::default().includes(ms(0)) && Window::default().includes(ms(u64::MAX)));
}

#[test]
fn calls_are_counted_from_one() {
    let seen = |calls: Calls| (1..=6).map(|call| calls.include(call, 0.5)).collect::<Vec<_>>();
    assert_eq!(seen(Calls::All), [true; 6]);
    assert_eq!(seen(Calls::Nth(2)), [false, true, false, false, false, false]);
    assert_eq!(seen(Calls::Every(3)), [false, false, true, false, false, true]);
    assert_eq!(seen(Calls::First(2)), [true, true, false, false, false, false]);
    assert_eq!(
        (seen(Calls::Probability(0.6)), seen(Calls::Probability(0.5))),
        (vec![true; 6], vec![false; 6])
    );
}

#[test]
fn a_configuration_allows_faults_only_by_name() {
    let sealed = "listener \"tcp\" {\n tls_disable = true\n}\nseal \"static\" {\n current_key_id = \"1\"\n current_key = \"env://K\"\n}\n";
    let parse = |text: &str| selkie_config::Config::parse("x", text, &OneKey).expect("is sound");
    assert!(!parse(sealed).allow_faults);
    let allowing = parse(&format!("allow_faults = true\n{sealed}"));
    assert!(allowing.allow_faults && allowing.faults.is_none());
    let is_told = |warning: &selkie_config::Warning| warning.kind == WarningKind::FaultsAllowed;
    assert!(allowing.warnings.iter().any(is_told), "{:?}", allowing.warnings);
}

/// Has a key for whoever asks.
struct OneKey;

impl selkie_config::Sources for OneKey {
    fn variable(&self, name: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        (name == "K").then(|| zeroize::Zeroizing::new((0..32).map(|byte| byte ^ 0xa5).collect()))
    }

    fn secret_file(
        &self,
        _path: &Path,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, selkie_config::SourceError> {
        Err(selkie_config::SourceError::Missing)
    }

    fn text_file(&self, _path: &Path) -> Result<String, selkie_config::SourceError> {
        Err(selkie_config::SourceError::Missing)
    }

    fn exposure(&self, _path: &Path) -> Option<selkie_config::Exposure> {
        None
    }
}
