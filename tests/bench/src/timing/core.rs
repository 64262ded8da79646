//! The crypto core in its native build, with the code paths (VAES, SHA) that valgrind hides from
//! `crypto/constant-time`.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use selkie_crypto::aead::{self, NONCE_BYTES, TAG_BYTES};
use selkie_crypto::base64::{decode_secret, encode_into, encoded_len};
use selkie_crypto::envelope::{Aad, EnvelopeRefusal};
use selkie_crypto::{Plaintext, RecipientSecret, WRAPPED_DEK_BYTES, os_random, sha256};

use super::welch::{Class, Comparison};
use super::{Report, Row};
use crate::micro::Bench;

const SECRET_BYTES: usize = 48;
/// Inputs made before any of them is measured, so that making them is far away from the clock.
const TURN: usize = 256;

/// Compares running times of the crypto core's functions for two kinds of secrets each.
#[derive(Debug, clap::Args)]
pub(crate) struct Core {
    /// How often each function runs.
    #[arg(long, default_value_t = 10_000_000)]
    samples: u32,
}

impl Core {
    pub(crate) fn run(self) -> Result<()> {
        let mut report = Report::new();
        self.control(&mut report)?;
        self.text(&mut report)?;
        self.keys(&mut report)?;
        self.cipher(&mut report)?;
        self.envelope(&mut report)?;
        let command = format!("selkie-bench timing core --samples={}", self.samples);
        report.finish("No secret shows in the time of the crypto core", &command, self.samples)
    }

    /// A comparison that stops at the first difference, at the start or at the end.
    fn control(&self, report: &mut Report) -> Result<()> {
        let secret = [7_u8; SECRET_BYTES];
        let guess = |class| {
            let mut guess = secret;
            let at = if class == Class::Left { 0 } else { SECRET_BYTES - 1 };
            if let Some(byte) = guess.get_mut(at) {
                *byte ^= 1;
            }
            Ok(guess)
        };
        let compare = |guess: [u8; SECRET_BYTES]| {
            secret.iter().zip(guess).all(|(a, b)| black_box(*a) == black_box(b))
        };
        self.compare(report, "comparison that stops early", Row::Control, guess, compare)
    }

    fn text(&self, report: &mut Report) -> Result<()> {
        let text = |class| {
            let mut text = Vec::with_capacity(encoded_len(SECRET_BYTES));
            encode_into(&secret(class)?, &mut text);
            Ok(text)
        };
        let row = Row::MustLookEqual;
        let decode = |text: Vec<u8>| decode_secret(&text).is_ok();
        self.compare(report, "base64: decode", row, text, decode)?;
        let encode = |secret: [u8; SECRET_BYTES]| {
            let mut text = Vec::with_capacity(encoded_len(SECRET_BYTES));
            encode_into(&secret, &mut text);
            text
        };
        self.compare(report, "base64: encode", row, secret, encode)?;
        let digest = |token: [u8; SECRET_BYTES]| sha256(&token);
        self.compare(report, "sha256 of a token", row, secret, digest)
    }

    fn keys(&self, report: &mut Report) -> Result<()> {
        let bench = Bench::new()?;
        let row = Row::MustLookEqual;
        let wrap = |dek: RecipientSecret| bench.kek.wrap_dek(&dek);
        self.compare(report, "A256KW: wrap", row, dek, wrap)?;
        let wrapped = |class| Ok(bench.kek.wrap_dek(&dek(class)?));
        let unwrap = |wrapped: [u8; WRAPPED_DEK_BYTES]| bench.kek.unwrap_dek(&wrapped).is_ok();
        self.compare(report, "A256KW: unwrap", row, wrapped, unwrap)?;
        let changed = |class| {
            let mut wrapped = bench.kek.wrap_dek(&dek(Class::Right)?);
            spoil(&mut wrapped, class);
            Ok(wrapped)
        };
        self.compare(report, "A256KW: refuse, first or last byte", row, changed, unwrap)
    }

    fn cipher(&self, report: &mut Report) -> Result<()> {
        let row = Row::MustLookEqual;
        let nonce = [3; NONCE_BYTES];
        let both = |class| Ok((dek(class)?, Plaintext::new(secret(class)?.to_vec())));
        let encrypt = |(dek, plaintext): (RecipientSecret, Plaintext)| {
            aead::encrypt(&dek, &nonce, b"aad", plaintext).is_ok()
        };
        self.compare(report, "AES-256-GCM: encrypt", row, both, encrypt)?;
        let key = dek(Class::Right)?;
        let spoiled = |class| {
            let plaintext = Plaintext::new(secret(Class::Right)?.to_vec());
            let made = aead::encrypt(&key, &nonce, b"aad", plaintext);
            let mut made = made.map_err(|_too_long| anyhow::anyhow!("too long"))?;
            spoil(&mut made.tag, class);
            Ok((made.ciphertext, made.tag))
        };
        let decrypt = |(ciphertext, tag): (Vec<u8>, [u8; TAG_BYTES])| {
            aead::decrypt(&key, &nonce, b"aad", &ciphertext, &tag).is_ok()
        };
        self.compare(
            report,
            "AES-256-GCM: refuse, first or last byte of tag",
            row,
            spoiled,
            decrypt,
        )
    }

    /// A decrypt that fails for its tag, or for its commitment (invariant I4).
    fn envelope(&self, report: &mut Report) -> Result<()> {
        let bench = Bench::new()?;
        let row = Row::MustLookEqual;
        let (envelope, dek) = bench.envelope(&bench.encrypted()?)?;
        // A copy for each time, lest two addresses be told apart.
        let copied = |class| {
            RecipientSecret::init_with(|copy| match class {
                Class::Left => copy.copy_from_slice(dek.expose_for_wrap()),
                Class::Right => *copy = [9; 32],
            })
        };
        let other = Aad { associated_data: b"other", context: b"" };
        let refuse = |dek: RecipientSecret| envelope.decrypt(&dek, other);
        for (class, refusal) in
            [(Class::Left, EnvelopeRefusal::Tag), (Class::Right, EnvelopeRefusal::Commitment)]
        {
            let refused = refuse(copied(class)).err().map(|error| error.refusal_for_log());
            ensure!(refused == Some(refusal), "refused otherwise: {refused:?}");
        }
        let input = |class| Ok(copied(class));
        self.compare(report, "envelope: refuse, tag or commitment", row, input, refuse)?;
        let encrypt = |plaintext| bench.encrypt(plaintext).is_ok();
        let plaintext = |class| Ok(Plaintext::new(secret(class)?.to_vec()));
        self.compare(report, "envelope: encrypt", row, plaintext, encrypt)
    }

    fn compare<I, T>(
        &self,
        report: &mut Report,
        name: &str,
        row: Row,
        input: impl Fn(Class) -> Result<I>,
        run: impl Fn(I) -> T,
    ) -> Result<()> {
        let mut comparison = Comparison::default();
        while comparison.samples() < self.samples {
            let inputs = classes()?.into_iter().map(|class| Ok((class, input(class)?)));
            for (class, input) in inputs.collect::<Result<Vec<_>>>()? {
                let began = Instant::now();
                black_box(run(black_box(input)));
                comparison.add(class, began.elapsed().as_nanos());
            }
        }
        report.row(name, row, comparison.verdict())
    }
}

/// So many classes, in an order that nobody could foresee.
fn classes() -> Result<[Class; TURN]> {
    let mut coins = [0_u8; TURN];
    os_random(&mut coins)?;
    Ok(coins.map(|coin| if coin % 2 == 0 { Class::Left } else { Class::Right }))
}

/// Zeros, or what is drawn; both classes draw.
fn secret(class: Class) -> Result<[u8; SECRET_BYTES]> {
    let mut drawn = [0; SECRET_BYTES];
    os_random(&mut drawn)?;
    Ok(match class {
        Class::Left => [0; SECRET_BYTES],
        Class::Right => drawn,
    })
}

fn dek(class: Class) -> Result<RecipientSecret> {
    let secret = secret(class)?;
    Ok(RecipientSecret::init_with(|dek| {
        for (byte, drawn) in dek.iter_mut().zip(secret) {
            *byte = drawn;
        }
    }))
}

/// Changes the first byte, or the last.
fn spoil(bytes: &mut [u8], class: Class) {
    let changed = match class {
        Class::Left => bytes.first_mut(),
        Class::Right => bytes.last_mut(),
    };
    if let Some(byte) = changed {
        *byte ^= 1;
    }
}
