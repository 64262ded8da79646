//! The answers to ciphertexts that do not open (invariant I4), over TLS, as their sender sees them.

use std::fs;
use std::io::{Write, stdout};
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use selkie_crypto::os_random;
use selkie_tests::{Answer, Authority, Client, Connection, Request, Selkie, Site};
use serde_json::json;

use super::welch::{Class, Comparison, Verdict};
use super::{Report, Row};

const DECRYPT: &str = "transit/decrypt/autounseal";
const ENCRYPT: &str = "transit/encrypt/autounseal";
/// Every request binds to something, so that all are equally long; so are the two.
const BOUND: &str = "dGhlIHJpZ2h0IG9uZQ==";
const BOUND_OTHERWISE: &str = "dGhlIHdyb25nIG9uZQ==";

/// Compares a server's answers, and their times, for each reason why an envelope does not open. A
/// difference of times counts if a second server has it too.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// How many requests in all.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u32,
}

/// A ciphertext that does not open, and why.
struct Reason {
    name: &'static str,
    row: Row,
    request: Request,
}

/// What became of one reason, compared with the first.
struct Compared {
    name: &'static str,
    row: Row,
    verdict: Verdict,
}

impl Server {
    pub(crate) fn run(self) -> Result<()> {
        share_one_processor()?;
        let mut compared = self.measure()?;
        if compared.iter().any(Compared::differs) {
            writeln!(
                stdout(),
                "timing: a difference; whether it is the code's, another server says"
            )?;
            let again = self.measure()?;
            for (one, again) in compared.iter_mut().zip(&again) {
                one.verdict = one.verdict.confirmed_by(again.verdict);
            }
        }
        let mut report = Report::new();
        for Compared { name, row, verdict } in &compared {
            report.row(name, *row, *verdict)?;
        }
        let samples = compared.first().map_or(0, |one| one.verdict.samples);
        let command = format!("selkie-bench timing server --requests={}", self.requests);
        let promise =
            "What does not open gets one answer, and after an unwrap in one time, over TLS";
        report.finish(promise, &command, samples)
    }

    /// With a server of its own, whose memory lies where that of no other does.
    fn measure(&self) -> Result<Vec<Compared>> {
        let authority = Authority::new()?;
        let mut site = Site::new()?;
        let (cert, key) = authority.issue("selkie")?.write(site.dir())?;
        site.tls = true;
        site.listener = format!(
            "tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"",
            cert.display(),
            key.display()
        );
        let token = site.client("vault", &["seal"], "")?;
        let rule: (&str, &[&str]) = ("transit/+/autounseal", &["update"]);
        site.policy("seal", &[rule]);
        let config = site.write()?;
        // A line per refusal would be what is measured.
        let quiet = fs::read_to_string(&config)?.replacen("\"debug\"", "\"error\"", 1);
        fs::write(&config, quiet)?;
        let selkie = Selkie::configured(&config, 1)?;
        let client =
            Client { tls: Some(authority.trusted()?), ..selkie.client().with_token(&token) };
        self.compare(&reasons(&client)?, &mut client.connect()?)
    }

    /// Each reason after the first against the first, in an order that nobody could foresee.
    fn compare(&self, reasons: &[Reason], connection: &mut Connection) -> Result<Vec<Compared>> {
        let (first, others) = reasons.split_first().context("no reasons")?;
        let mut comparisons: Vec<_> = others.iter().map(|_| Comparison::default()).collect();
        let expected = shown(&connection.send(first.request.clone())?);
        let mut ask = |reason: &Reason| -> Result<u128> {
            let began = Instant::now();
            let answer = connection.send(reason.request.clone())?;
            let took = began.elapsed().as_nanos();
            let got = shown(&answer);
            ensure!(got == expected, "{} got {got:?}, {} {expected:?}", reason.name, first.name);
            Ok(took)
        };
        let pairs = usize::try_from(self.requests)?.div_ceil(2 * others.len());
        for _ in 0..pairs {
            for ((other, comparison), is_first) in others.iter().zip(&mut comparisons).zip(coins()?)
            {
                let turns = [(Class::Left, first), (Class::Right, other)];
                let turns = if is_first { turns } else { [turns[1], turns[0]] };
                for (class, reason) in turns {
                    comparison.add(class, ask(reason)?);
                }
            }
        }
        let compared = others.iter().zip(&comparisons).map(|(other, comparison)| Compared {
            name: other.name,
            row: other.row,
            verdict: comparison.verdict(),
        });
        Ok(compared.collect())
    }
}

impl Compared {
    fn differs(&self) -> bool {
        self.row == Row::MustLookEqual && self.verdict.is_different
    }
}

/// Keeps this process, and the server that it starts, to the processor that it is on: one of the two
/// is always at work there, and what it takes to wake a sleeping processor varies more than what is
/// compared here.
fn share_one_processor() -> Result<()> {
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).context("cannot stay on one processor")
}

/// One fair coin for each of up to 32 reasons.
fn coins() -> Result<impl Iterator<Item = bool>> {
    let mut coins = [0_u8; 32];
    os_random(&mut coins)?;
    Ok(coins.into_iter().map(|coin| coin % 2 == 0))
}

/// All of an answer that a client sees, but the hour.
fn shown(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    (answer.status, headers.cloned().collect(), answer.text())
}

/// The first one is what the others are compared with.
fn reasons(client: &Client) -> Result<Vec<Reason>> {
    let encrypt = || -> Result<Jwe> {
        let body = json!({ "plaintext": "cm9vdCBrZXkgb2YgYSBWYXVsdCwgb3IgbmVhcmx5IHNv", "associated_data": BOUND });
        Jwe::parse(&client.put(ENCRYPT, &body)?.field("ciphertext")?)
    };
    let (good, another) = (encrypt()?, encrypt()?);
    let equal = |name, text: String| Reason {
        name,
        row: Row::MustLookEqual,
        request: request(&text, BOUND),
    };
    let reasons = vec![
        equal("first byte of the tag", good.with_changed("tag", 1)?),
        equal("last bytes of the tag", good.with_changed("tag", 19)?),
        equal("nonce", good.with_changed("iv", 5)?),
        equal("first bytes of the ciphertext", good.with_changed("ciphertext", 1)?),
        equal("last bytes of the ciphertext", good.with_changed("ciphertext", 40)?),
        equal("commitment to another DEK", good.with_other_commitment()?),
        equal("tag of another envelope", good.with_value_of("tag", &another)?),
        equal("DEK of another envelope", good.with_value_of("encrypted_key", &another)?),
        Reason {
            name: "other associated data",
            row: Row::MustLookEqual,
            request: request(&good.text(), BOUND_OTHERWISE),
        },
        Reason {
            name: "no envelope, so no unwrap",
            row: Row::Control,
            request: request(&format!("vault:v1:{}", "A".repeat(good.text().len() - 9)), BOUND),
        },
    ];
    ensure!(client.send(request(&good.text(), BOUND))?.status == 200, "the good one must open");
    for reason in &reasons {
        ensure!(client.send(reason.request.clone())?.status == 400, "{} opened", reason.name);
    }
    Ok(reasons)
}

/// A decrypt; all bodies are equally long.
fn request(ciphertext: &str, associated_data: &str) -> Request {
    let body = json!({ "ciphertext": ciphertext, "associated_data": associated_data }).to_string();
    let padded = format!("{body:<width$}", width = ciphertext.len() + 80);
    Request::new("PUT", DECRYPT).body(padded)
}

/// The JSON text of a ciphertext's envelope, changed as text: it has one spelling alone.
struct Jwe(String);

impl Jwe {
    fn parse(ciphertext: &str) -> Result<Self> {
        let body = ciphertext.strip_prefix("vault:v1:").context("another version")?;
        Ok(Self(String::from_utf8(STANDARD.decode(body)?)?))
    }

    fn text(&self) -> String {
        format!("vault:v1:{}", STANDARD.encode(&self.0))
    }

    /// Where the value of a member stands.
    fn value(&self, member: &str) -> Result<Range<usize>> {
        let name = format!("\"{member}\":\"");
        let start = self.0.find(&name).context("no such member")? + name.len();
        let rest = self.0.get(start..).context("cut")?;
        Ok(start..start + rest.find('"').context("no end")?)
    }

    fn with_value(&self, member: &str, value: &str) -> Result<String> {
        let mut text = self.0.clone();
        text.replace_range(self.value(member)?, value);
        Ok(Self(text).text())
    }

    fn with_value_of(&self, member: &str, other: &Self) -> Result<String> {
        let value = other.0.get(other.value(member)?).context("cut")?;
        self.with_value(member, value)
    }

    /// With one character of a member's base64url changed.
    fn with_changed(&self, member: &str, at: usize) -> Result<String> {
        let value = self.0.get(self.value(member)?).context("cut")?;
        self.with_value(member, &changed(value, at)?)
    }

    /// With the commitment in the protected header changed.
    fn with_other_commitment(&self) -> Result<String> {
        let value = self.0.get(self.value("protected")?).context("cut")?;
        let header = Self(String::from_utf8(URL_SAFE_NO_PAD.decode(value)?)?);
        let at = header.value("commitment")?.start;
        let header = changed(&header.0, at + 5)?;
        self.with_value("protected", &URL_SAFE_NO_PAD.encode(header))
    }
}

/// Another character of the alphabet in place of the one there.
fn changed(text: &str, at: usize) -> Result<String> {
    let mut text = text.to_owned();
    let there = text.get(at..=at).context("too short")?;
    let instead = if there == "A" { "B" } else { "A" };
    text.replace_range(at..=at, instead);
    Ok(text)
}
