//! Unwraps on a token: over the bare library, and through our child process.

use std::io::{Write, stdout};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm, os_random};
use selkie_kms::pkcs11::{Pkcs11Kms, Pkcs11Settings, SlotChoice};
use selkie_kms::{Call, ClientTag, Kms};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";
const LABEL: &str = "bench";
const PIN: &str = "1234";

/// Makes a SoftHSM token with an AES key, and unwraps by AES-GCM over 1 and 16 sessions. Prints one
/// JSON object, in calls per second.
#[derive(Debug, clap::Args)]
pub(crate) struct Pkcs11 {
    /// Where `selkie-pkcs11` is, and `examples/soft_token` beside it.
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// How many calls each.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
}

impl Pkcs11 {
    pub(crate) async fn run(self) -> Result<()> {
        let programs = self.programs.canonicalize()?;
        let dir = tempfile::tempdir()?;
        let tokens = dir.path().join("tokens");
        std::fs::create_dir(&tokens)?;
        let configuration = dir.path().join("softhsm2.conf");
        std::fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display()))?;
        let tool = |command: &[&str]| {
            let output = Command::new(programs.join("examples/soft_token"))
                .env("SOFTHSM2_CONF", &configuration)
                .args([LIBRARY, LABEL, PIN])
                .args(command)
                .output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?)
        };
        tool(&["init"])?;
        tool(&["gcm", "unseal", "01"])?;
        let mut figures = Map::new();
        for line in tool(&["calls", &self.calls.to_string()])?.lines() {
            let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [sessions, calls, seconds] = numbers[..] else { continue };
            figures.insert(format!("bare, {sessions} sessions"), json!((calls / seconds).round()));
        }
        for sessions in [1, 16] {
            let settings = Pkcs11Settings {
                program: programs.join("selkie-pkcs11"),
                library: LIBRARY.into(),
                slot: SlotChoice { token_label: Some(LABEL.into()), ..SlotChoice::default() },
                pin: Zeroizing::new(PIN.to_owned()).into(),
                key_label: Some("unseal".into()),
                key_id: None,
                previous_key_ids: Vec::new(),
                mechanism: None,
                max_sessions: NonZeroU16::new(sessions).context("no session")?,
                call_time: Duration::from_secs(10),
                environment: vec![("SOFTHSM2_CONF".into(), configuration.display().to_string())],
            };
            let rate = self.through_the_child(settings, sessions.into()).await?;
            figures.insert(format!("selkie-pkcs11, {sessions} sessions"), rate);
        }
        writeln!(stdout(), "{}", Value::Object(figures))?;
        Ok(())
    }

    async fn through_the_child(&self, settings: Pkcs11Settings, callers: usize) -> Result<Value> {
        let kms = Arc::new(Pkcs11Kms::new(settings, Arc::new(os_random)));
        let description = kms.describe().await?;
        let kek = Arc::new(description.current().id.clone());
        let secret = RecipientSecret::init_with(|bytes| bytes.fill(7));
        let wrapped: Arc<[u8]> = kms.wrap_dek(&kek, &secret, call()).await?.into();
        // Each session finds the key once, which is not what is measured.
        unwraps(&kms, &kek, &wrapped, callers, callers * 20).await?;
        let began = Instant::now();
        unwraps(&kms, &kek, &wrapped, callers, self.calls).await?;
        let calls = f64::from(u32::try_from(self.calls)?);
        Ok(json!((calls / began.elapsed().as_secs_f64()).round()))
    }
}

async fn unwraps(
    kms: &Arc<Pkcs11Kms>,
    kek: &Arc<KekId>,
    wrapped: &Arc<[u8]>,
    callers: usize,
    calls: usize,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (kms, kek, wrapped) = (Arc::clone(kms), Arc::clone(kek), Arc::clone(wrapped));
        tasks.spawn(async move {
            for _ in 0..calls / callers {
                kms.unwrap_dek(&kek, WrapAlgorithm::A256GcmKw, &wrapped, call()).await?;
            }
            anyhow::Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect()
}

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(60) }
}
