//! What several seals cost: a decrypt whose first of three seals is dead, and each further recipient
//! of an envelope. In the process and without a network, so that nothing but Selkie's own part shows.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use selkie::clock::SystemClock;
use selkie::deployment::Deployment;
use selkie::metrics::Metrics;
use selkie::seal::{Connection, Known, Seal, Seals, Setup};
use selkie::transit::{DecryptionItem, EncryptionItem, ManagedKeys, Transit};
use selkie_access::{Acl, Bare, Permit, Policy, operation};
use selkie_config::{Config, Exposure, SourceError, Sources};
use selkie_crypto::envelope::{Aad, Draft, Header, Purpose, Recipient};
use selkie_crypto::{
    Ciphertext, Kek, KekId, KeyVersion, Plaintext, RsaPublicKey, SealName, WrapAlgorithm,
    os_random, sha256,
};
use selkie_kms::{ClientTag, Fault, Faulty, Kms, StaticKms};
use zeroize::Zeroizing;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// What a KMS not far away takes.
const KMS_TIME: Duration = Duration::from_millis(20);
/// Decrypts that each figure is made of; of the first ones after a death there is one for a server.
const DECRYPTS: usize = 1_000;
const DEATHS: usize = 50;
const ENVELOPES: u32 = 2_000;
const PLAINTEXT_BYTES: usize = 48;

/// Prints `figure TAB value` lines: p99 of decrypts with the first of three seals dead, before and
/// after its breaker has opened, and what each further recipient costs.
#[derive(Debug, clap::Args)]
pub(crate) struct Several {}

impl Several {
    pub(crate) async fn run(self) -> Result<()> {
        let well = Site::new(KMS_TIME).await?;
        let whole = p99(well.decrypts(DECRYPTS / 10).await?)?;
        let mut first = Vec::new();
        for _ in 0..DEATHS {
            let site = Site::new(KMS_TIME).await?;
            site.kill_first();
            first.extend(site.decrypts(1).await?);
        }
        let first = p99(first)?;
        let (alive, dead) = (Site::new(Duration::ZERO).await?, Site::new(Duration::ZERO).await?);
        let quick = p99(alive.decrypts(DECRYPTS).await?)?;
        dead.kill_first();
        drop(dead.decrypts(1).await?);
        let passed_over = p99(dead.decrypts(DECRYPTS).await?)?;
        let mut out = stdout();
        writeln!(
            out,
            "decrypt, 3 seals of {} ms, p99\t{}\n\
             the first dead, first decrypt, p99 (goal: 300 ms + 1 call)\t{}\n\
             decrypt, 3 seals of 0 ms, p99\t{}\n\
             the first dead, later decrypts, p99 (goal: 1 ms more)\t{}",
            KMS_TIME.as_millis(),
            millis(whole),
            millis(first),
            millis(quick),
            millis(passed_over),
        )?;
        write!(out, "{}", recipients()?)?;
        Ok(())
    }
}

/// Three seals behind fault injectors, and a ciphertext for all of them.
struct Site {
    first: Arc<Faulty>,
    transit: Transit,
    ciphertext: String,
}

impl Site {
    async fn new(time: Duration) -> Result<Self> {
        let mut seals = Vec::new();
        let mut faults = Vec::new();
        for name in NAMES {
            let kms = Arc::new(Faulty::new(Arc::new(static_kms(name)?)));
            kms.on_unwrap().always(Fault::delay(time));
            seals.push(seal(name, Arc::clone(&kms) as _).await?);
            faults.push(kms);
        }
        let transit = engine(seals)?;
        let item = EncryptionItem {
            plaintext: Plaintext::new(vec![5; PLAINTEXT_BYTES]),
            associated_data: Vec::new(),
            context: Vec::new(),
            version: None,
        };
        let encryption = transit.encryption(&permit(operation::Encrypt)?).await?;
        let ciphertext = encryption.encrypt(item).await?.ciphertext;
        let first = faults.into_iter().next().context("no seal")?;
        Ok(Self { first, transit, ciphertext })
    }

    fn kill_first(&self) {
        self.first.on_unwrap().always(Fault::hang());
    }

    async fn decrypts(&self, count: usize) -> Result<Vec<Duration>> {
        let decryption = self.transit.decryption(&permit(operation::Decrypt)?).await?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let item = DecryptionItem {
                ciphertext: &self.ciphertext,
                associated_data: Vec::new(),
                context: Vec::new(),
            };
            let began = Instant::now();
            black_box(decryption.decrypt(&item).await?);
            times.push(began.elapsed());
        }
        Ok(times)
    }
}

fn static_kms(name: &str) -> Result<StaticKms> {
    let fill = name.bytes().next().context("no name")?;
    let id = KekId::new(name)?;
    Ok(StaticKms::new(vec![(id.clone(), Kek::init_with(|page| page.fill(fill))?)], &id)?)
}

async fn seal(name: &str, kms: Arc<dyn Kms>) -> Result<Seal> {
    let known = Known::configured(kms.describe().await?);
    let setup = Setup {
        name: SealName::new(name)?,
        kind: "bench",
        kms,
        governor: None,
        target: String::new(),
        former_targets: Vec::new(),
        settings: [0; 32],
        fingerprints: Vec::new(),
        poll_interval: Duration::MAX,
        pin: None,
        examiner: None,
        upstream: None,
    };
    Ok(Seal::new(false, Connection::fixed(setup, known)))
}

/// A key for each file that a configuration names, where other seals replace its own.
struct UnusedKeys;

impl Sources for UnusedKeys {
    fn variable(&self, _name: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        Ok(Zeroizing::new(sha256(path.as_os_str().as_encoded_bytes()).to_vec()))
    }

    fn text_file(&self, _path: &Path) -> Result<String, SourceError> {
        Err(SourceError::Missing)
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}

fn engine(seals: Vec<Seal>) -> Result<Transit> {
    let mut text =
        "listener \"tcp\" {\n  tls_disable = true\n}\nkey \"autounseal\" {}\n".to_owned();
    for (priority, name) in NAMES.iter().enumerate() {
        writeln!(
            text,
            "seal \"static\" {{\n  name = \"{name}\"\n  priority = {}\n  current_key_id = \"1\"\n  \
             current_key = \"file:///{name}\"\n}}",
            priority + 1
        )?;
    }
    let config = Config::parse("bench.hcl", &text, &UnusedKeys)?;
    let deployment = Arc::new(Deployment::assemble(config, Seals::new(seals))?);
    Ok(Transit {
        current: Arc::new(ArcSwap::new(Arc::clone(&deployment))),
        deployment,
        keys: Arc::new(ManagedKeys::without_store()),
        clock: Arc::new(SystemClock),
        random: Arc::new(os_random),
        client: ClientTag::SELKIE,
        metrics: Metrics::new(),
        until: tokio::time::Instant::now() + Duration::from_secs(600),
        trail: None,
        unwraps: None,
    })
}

fn permit<O: operation::KeyOperation>(operation: O) -> Result<Permit<O>> {
    let acl = Acl::new([&Policy::root()]);
    Ok(acl.on(Bare).permit(operation, "transit".parse()?, "autounseal".parse()?)?)
}

fn p99(mut times: Vec<Duration>) -> Result<Duration> {
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().context("no time")
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Lines for the recipients of each kind: how many bytes and microseconds one more costs.
fn recipients() -> Result<String> {
    let mut lines = String::new();
    let kek = Kek::init_with(|key| *key = [7; 32])?;
    let wrap = |draft: &Draft| Ok(kek.wrap_dek(draft.secret()).to_vec());
    writeln!(lines, "a further recipient, A256KW\t{}", further(WrapAlgorithm::A256Kw, wrap)?)?;
    for (bits, size) in [(2048, KeySize::Rsa2048), (3072, KeySize::Rsa3072)] {
        let private = PrivateDecryptingKey::generate(size)?;
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let public = RsaPublicKey::from_spki_der(der.as_ref())?;
        let wrap = |draft: &Draft| Ok(public.wrap_dek(draft.secret())?);
        let cost = further(WrapAlgorithm::RsaOaep256, wrap)?;
        writeln!(lines, "a further recipient, RSA-OAEP-256 of {bits} bits\t{cost}")?;
    }
    Ok(lines)
}

/// The mean over three further ones beside a first.
fn further(algorithm: WrapAlgorithm, wrap: impl Fn(&Draft) -> Result<Vec<u8>>) -> Result<String> {
    let (few, many) = (envelopes(1, algorithm, &wrap)?, envelopes(4, algorithm, &wrap)?);
    let bytes = many.0.saturating_sub(few.0) / 3;
    let time = many.1.saturating_sub(few.1) / 3;
    Ok(format!("{bytes} bytes of ciphertext, {:.1} us of an encrypt", time.as_secs_f64() * 1e6))
}

/// The length and the time of an envelope with `count` recipients; the best of a few rounds.
fn envelopes(
    count: usize,
    algorithm: WrapAlgorithm,
    wrap: &impl Fn(&Draft) -> Result<Vec<u8>>,
) -> Result<(usize, Duration)> {
    let header = Header {
        purpose: Purpose::Client,
        realm: Cow::Borrowed("bench"),
        mount: Cow::Borrowed("transit"),
        key: Cow::Borrowed("autounseal"),
        version: KeyVersion::FIRST,
        created: 1_800_000_000,
    };
    let make = || -> Result<String> {
        let draft = Draft::new(&os_random)?;
        let recipients = (0..count).map(|at| {
            Ok(Recipient {
                seal: SealName::new(&format!("seal{at}"))?,
                kek: KekId::new(
                    "https://weu.vault.azure.net/keys/unseal/0123456789abcdef0123456789abcdef",
                )?,
                algorithm,
                wrapped_dek: wrap(&draft)?,
                share: None,
            })
        });
        let recipients = recipients.collect::<Result<Vec<_>>>()?;
        let plaintext = Plaintext::new(vec![5; PLAINTEXT_BYTES]);
        let json = draft.encrypt(&header, Aad::default(), plaintext, &recipients, None)?;
        Ok(Ciphertext::print(KeyVersion::FIRST, &json))
    };
    let (mut best, mut length) = (Duration::MAX, 0);
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..ENVELOPES / 5 {
            length = black_box(make()?).len();
        }
        best = best.min(began.elapsed() / (ENVELOPES / 5));
    }
    Ok((length, best))
}
