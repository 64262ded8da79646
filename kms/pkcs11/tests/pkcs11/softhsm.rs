//! SoftHSM 2 with a token of its own in a directory that goes with it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use selkie_kms::pkcs11::Pkcs11Settings;
use tempfile::TempDir;

use crate::PIN;

const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const TOKEN: &str = "selkie test";

pub(crate) struct SoftHsm {
    dir: TempDir,
}

impl SoftHsm {
    /// An empty token; `None` where there is no SoftHSM, which is said, and fails under `CI`.
    pub(crate) fn new() -> Option<Self> {
        if !Path::new(LIBRARY).exists() {
            // Past the capture of tests' output.
            let _ = std::io::stderr()
                .write_all(b"SKIPPED for want of SoftHSM: apt-get install softhsm2\n");
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "SoftHSM must be there");
            return None;
        }
        let hsm = Self { dir: tempfile::tempdir().unwrap() };
        let tokens = hsm.dir.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(hsm.configuration(), text).unwrap();
        hsm.tool(&["init"]);
        Some(hsm)
    }

    /// The same with these keys, `KIND ID` each, labelled `unseal`.
    pub(crate) fn with(keys: &[(&str, &str)]) -> Option<Self> {
        let hsm = Self::new()?;
        for (kind, id) in keys {
            hsm.tool(&[kind, "unseal", id]);
        }
        Some(hsm)
    }

    fn configuration(&self) -> PathBuf {
        self.dir.path().join("softhsm2.conf")
    }

    /// Runs the example `soft_token` on the token.
    pub(crate) fn tool(&self, command: &[&str]) {
        let programs = Path::new(env!("CARGO_BIN_EXE_selkie-pkcs11")).parent().unwrap();
        let status = Command::new(programs.join("examples/soft_token"))
            .env("SOFTHSM2_CONF", self.configuration())
            .args([LIBRARY, TOKEN, PIN])
            .args(command)
            .status();
        assert!(status.unwrap().success(), "{command:?}");
    }

    pub(crate) fn settings(&self) -> Pkcs11Settings {
        let configuration = self.configuration().display().to_string();
        Pkcs11Settings {
            environment: vec![("SOFTHSM2_CONF".to_owned(), configuration)],
            ..crate::settings(LIBRARY.into(), TOKEN)
        }
    }
}
