//! What single operations take, to explain the figures of the whole.

use std::borrow::Cow;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use selkie_access::{Acl, Bare, Permit, Policy, operation};
use selkie_crypto::envelope::{Aad, Draft, Expected, Header, Purpose, Recipient};
use selkie_crypto::{
    Ciphertext, Envelope, Kek, KekId, KeyVersion, Plaintext, RecipientSecret, RsaPublicKey,
    SealName, WrapAlgorithm, os_random,
};

/// What a seal client encrypts most often has about this size.
const PLAINTEXT_BYTES: usize = 48;

const ROUNDS: u32 = 7;
const ROUND: Duration = Duration::from_millis(60);

/// What one operation takes.
#[derive(Debug)]
pub(crate) struct Figure {
    operation: &'static str,
    time: Duration,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}", self.operation, self.time.as_nanos())
    }
}

/// Measures all operations.
pub(crate) fn figures() -> Result<Vec<Figure>> {
    let bench = Bench::new()?;
    let text = bench.encrypted()?;
    let dek = RecipientSecret::init_with(|dek| *dek = [3; 32]);
    let (few, many) = (acl(10)?, acl(1000)?);
    let mut figures = vec![
        figure("policy check, 10 rules", || checked(&few))?,
        figure("policy check, 1,000 rules", || checked(&many))?,
        figure("encrypt 48 bytes, one A256KW recipient", || bench.encrypted())?,
        figure("decrypt the same", || bench.decrypted(&text))?,
        figure("A256KW wrap", || Ok(bench.kek.wrap_dek(&dek)))?,
    ];
    for (operation, size) in [
        ("RSA-OAEP-256 wrap, 2048 bits", KeySize::Rsa2048),
        ("RSA-OAEP-256 wrap, 3072 bits", KeySize::Rsa3072),
        ("RSA-OAEP-256 wrap, 4096 bits", KeySize::Rsa4096),
    ] {
        let private = PrivateDecryptingKey::generate(size)?;
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let public = RsaPublicKey::from_spki_der(der.as_ref())?;
        figures.push(figure(operation, || Ok(public.wrap_dek(&dek)?))?);
    }
    Ok(figures)
}

/// The best of several rounds: whatever else the machine does only adds time.
fn figure<T>(operation: &'static str, run: impl Fn() -> Result<T>) -> Result<Figure> {
    let mut time = Duration::MAX;
    for _ in 0..ROUNDS {
        let (began, mut runs) = (Instant::now(), 0);
        while began.elapsed() < ROUND {
            for _ in 0..16 {
                black_box(run()?);
            }
            runs += 16;
        }
        time = time.min(began.elapsed() / runs);
    }
    Ok(Figure { operation, time })
}

/// As many rules as `count`, of which every tenth has a `+`; one is for the path that is asked for.
fn acl(count: usize) -> Result<Acl> {
    let rules = (1..count).map(|number| match number % 10 {
        0 => format!("path \"team-{number}/+/key\" {{ capabilities = [\"update\"] }}\n"),
        even if even % 2 == 0 => {
            format!("path \"team-{number}/transit/*\" {{ capabilities = [\"update\"] }}\n")
        }
        _ => format!("path \"team/encrypt/key-{number}\" {{ capabilities = [\"update\"] }}\n"),
    });
    let text: String = rules.collect();
    let text = text + "path \"transit/*\" { capabilities = [\"update\"] }\n";
    Ok(Acl::new([&Policy::parse("bench".parse()?, "bench.hcl", &text)?]))
}

fn checked(acl: &Acl) -> Result<Permit<operation::Decrypt>> {
    let (mount, key) = ("transit".parse()?, "autounseal".parse()?);
    Ok(acl.on(Bare).permit(operation::Decrypt, mount, key)?)
}

/// A static seal's KEK and what envelopes under it are bound to.
pub(crate) struct Bench {
    pub(crate) kek: Kek,
    seal: SealName,
    kek_id: KekId,
    header: Header<'static>,
    realms: [String; 1],
    mounts: [String; 1],
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            kek: Kek::init_with(|key| *key = [7; 32])?,
            seal: SealName::new("static")?,
            kek_id: KekId::new("k1")?,
            header: Header {
                purpose: Purpose::Client,
                realm: Cow::Borrowed("bench"),
                mount: Cow::Borrowed("transit"),
                key: Cow::Borrowed("autounseal"),
                version: KeyVersion::FIRST,
                created: 1_800_000_000,
            },
            realms: ["bench".to_owned()],
            mounts: ["transit".to_owned()],
        })
    }

    /// From a plaintext to the text form, as the transit engine does it.
    pub(crate) fn encrypted(&self) -> Result<String> {
        self.encrypt(Plaintext::new(vec![5; PLAINTEXT_BYTES]))
    }

    pub(crate) fn encrypt(&self, plaintext: Plaintext) -> Result<String> {
        let draft = Draft::new(&os_random)?;
        let recipient = Recipient {
            seal: self.seal.clone(),
            kek: self.kek_id.clone(),
            algorithm: WrapAlgorithm::A256Kw,
            wrapped_dek: self.kek.wrap_dek(draft.secret()).to_vec(),
            share: None,
        };
        let json = draft.encrypt(&self.header, Aad::default(), plaintext, &[recipient], None)?;
        Ok(Ciphertext::print(self.header.version, &json))
    }

    /// The way back.
    fn decrypted(&self, text: &str) -> Result<Plaintext> {
        let (envelope, dek) = self.envelope(text)?;
        Ok(envelope.decrypt(&dek, Aad::default())?)
    }

    /// The envelope, and what its recipient unwraps to.
    pub(crate) fn envelope(&self, text: &str) -> Result<(Envelope, RecipientSecret)> {
        let json = Ciphertext::parse(text)?.into_envelope_bytes()?;
        let expected = Expected {
            purpose: self.header.purpose,
            realms: &self.realms,
            mounts: &self.mounts,
            key: &self.header.key,
            version: self.header.version,
            origin_key: None,
        };
        let envelope = Envelope::parse(json.as_slice(), &expected)?;
        let [recipient] = envelope.recipients() else {
            anyhow::bail!("one recipient was put in");
        };
        let dek = self.kek.unwrap_dek(&recipient.wrapped_dek)?;
        Ok((envelope, dek))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_a_round_trip() {
        let bench = Bench::new().unwrap();
        let plaintext = bench.decrypted(&bench.encrypted().unwrap()).unwrap();
        assert_eq!(plaintext.expose_for_reply(), [5; PLAINTEXT_BYTES]);
    }
}
