//! Makes and opens envelopes with given keys, to be set against another implementation
//! (`tests/jwcrypto/interop.py`). For tests only: keys and plaintexts pass in the clear.
//!
//! ```text
//! envelope make < request.json > reply.json
//!   {"header": HEADER, "plaintext": HEX, BINDING,
//!    "recipients": [{"seal": .., "kid": .., KEY}, ..], "quorum": 1} -> {"envelope": TEXT}
//! envelope open < request.json > reply.json
//!   {"header": HEADER, "envelope": TEXT, "recipient": INDEX, KEY, BINDING} -> {"plaintext": HEX}
//!   of a quorum, instead of "recipient" and KEY: "shares": [{"recipient": INDEX, KEY}, ..]
//! envelope protect < request.json > reply.json
//!   {"ec_private_pem": PEM, "passphrase": TEXT} -> {"protected": PEM}
//! HEADER   {"purpose": .., "realm": .., "mount": .., "key": .., "version": .., "created": ..}
//! KEY      "kek": HEX (A256KW), "gcm_kek": HEX (A256GCMKW), or
//!          "rsa_public_pem", "ec_public_pem" to make, "rsa_private_pem", "ec_private_pem" to open
//! BINDING  "associated_data": HEX, "context": HEX, "origin_key": HEX; each may be left out
//! ```
//!
//! Exit status 1, with the reason on standard error, where the envelope is refused.

use std::error::Error;
use std::io;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base16ct::lower::encode_string;
use selkie_crypto::aead::{self, NONCE_BYTES};
use selkie_crypto::base64::decode_secret;
use selkie_crypto::envelope::{Aad, Draft, Expected, Header, Part, Purpose, Quorum, Recipient};
use selkie_crypto::{
    DecryptError, EcPrivateKey, Envelope, Kek, KekId, KeyVersion, OriginKey, Plaintext, PublicKey,
    RecipientSecret, SealName, WrapAlgorithm, os_random,
};
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Make {
    header: HeaderFields,
    plaintext: Hex,
    recipients: Vec<RecipientFields>,
    #[serde(default = "one")]
    quorum: u8,
    #[serde(flatten)]
    binding: Binding,
}

const fn one() -> u8 {
    1
}

#[derive(Deserialize)]
struct Open {
    header: HeaderFields,
    envelope: String,
    #[serde(flatten)]
    opener: Option<Opener>,
    #[serde(default)]
    shares: Vec<Opener>,
    #[serde(flatten)]
    binding: Binding,
}

#[derive(Deserialize)]
struct Opener {
    recipient: usize,
    #[serde(flatten)]
    key: Key,
}

#[derive(Deserialize)]
struct Protect {
    ec_private_pem: String,
    passphrase: String,
}

#[derive(Deserialize)]
#[serde(remote = "Purpose", rename_all = "lowercase")]
enum PurposeName {
    Client,
    State,
    Backup,
}

#[derive(Deserialize)]
struct HeaderFields {
    #[serde(with = "PurposeName")]
    purpose: Purpose,
    realm: String,
    mount: String,
    key: String,
    version: u32,
    created: u64,
}

#[derive(Deserialize)]
struct RecipientFields {
    seal: String,
    kid: String,
    #[serde(flatten)]
    key: Key,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Kek(Hex),
    GcmKek(Hex),
    RsaPublicPem(String),
    RsaPrivatePem(String),
    EcPublicPem(String),
    EcPrivatePem(String),
}

#[derive(Deserialize)]
struct Binding {
    #[serde(default)]
    associated_data: Hex,
    #[serde(default)]
    context: Hex,
    origin_key: Option<Hex>,
}

/// Bytes, in hexadecimal on the wire.
#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Envelope(String),
    Plaintext(String),
    Protected(String),
}

fn main() -> Outcome<()> {
    let reply = match std::env::args().nth(1).as_deref() {
        Some("make") => make(&serde_json::from_reader(io::stdin())?)?,
        Some("open") => open(&serde_json::from_reader(io::stdin())?)?,
        Some("protect") => protect(&serde_json::from_reader(io::stdin())?)?,
        _ => return Err("usage: envelope make|open|protect < request.json".into()),
    };
    Ok(serde_json::to_writer(io::stdout(), &reply)?)
}

fn make(request: &Make) -> Outcome<Reply> {
    let quorum = Quorum::new(request.quorum, request.recipients.len())?;
    let draft = Draft::with_quorum(quorum, &os_random)?;
    let wrap = |(position, recipient): (usize, &RecipientFields)| {
        recipient.wrap(draft.part(position).ok_or("too few parts")?)
    };
    let recipients = request.recipients.iter().enumerate().map(wrap);
    let recipients = recipients.collect::<Outcome<Vec<_>>>()?;
    let origin_key = request.binding.origin_key()?;
    let json = draft.encrypt(
        &request.header.header()?,
        request.binding.aad(),
        Plaintext::new(request.plaintext.0.clone()),
        &recipients,
        origin_key.as_ref(),
    )?;
    Ok(Reply::Envelope(String::from_utf8(json)?))
}

fn open(request: &Open) -> Outcome<Reply> {
    let header = request.header.header()?;
    let origin_key = request.binding.origin_key()?;
    let expected = Expected {
        purpose: header.purpose,
        realms: std::slice::from_ref(&request.header.realm),
        mounts: std::slice::from_ref(&request.header.mount),
        key: &header.key,
        version: header.version,
        origin_key: origin_key.as_ref(),
    };
    let envelope = Envelope::parse(request.envelope.as_bytes(), &expected)
        .map_err(|error| error.refusal_for_log().to_string())?;
    if *envelope.header() != header {
        return Err("another header".into());
    }
    let dek = match &request.opener {
        Some(opener) => opener.unwrap(&envelope)?.1,
        None => combined(&envelope, &request.shares)?,
    };
    let plaintext = envelope.decrypt(&dek, request.binding.aad()).map_err(reason)?;
    Ok(Reply::Plaintext(encode_string(plaintext.expose_for_reply())))
}

/// The DEK of a quorum.
fn combined(envelope: &Envelope, openers: &[Opener]) -> Outcome<RecipientSecret> {
    let verified = openers.iter().map(|opener| {
        let (recipient, secret) = opener.unwrap(envelope)?;
        Ok(envelope.verify_share(recipient, &secret).map_err(reason)?)
    });
    Ok(envelope.combine(&verified.collect::<Outcome<Vec<_>>>()?).map_err(reason)?)
}

fn reason(error: DecryptError) -> String {
    error.refusal_for_log().to_string()
}

fn protect(request: &Protect) -> Outcome<Reply> {
    let key = EcPrivateKey::from_pkcs8(&der(&request.ec_private_pem)?)?;
    Ok(Reply::Protected(key.protect(request.passphrase.as_bytes(), &os_random)?))
}

impl Opener {
    fn unwrap<'a>(&self, envelope: &'a Envelope) -> Outcome<(&'a Recipient, RecipientSecret)> {
        let recipient = envelope.recipients().get(self.recipient).ok_or("no such recipient")?;
        Ok((recipient, self.key.unwrap_dek(recipient)?))
    }
}

impl HeaderFields {
    fn header(&self) -> Outcome<Header<'_>> {
        Ok(Header {
            purpose: self.purpose,
            realm: self.realm.as_str().into(),
            mount: self.mount.as_str().into(),
            key: self.key.as_str().into(),
            version: KeyVersion::new(self.version).ok_or("no key has version 0")?,
            created: self.created,
        })
    }
}

impl RecipientFields {
    fn wrap(&self, part: Part<'_>) -> Outcome<Recipient> {
        let secret = part.secret();
        let (algorithm, wrapped_dek) = match &self.key {
            Key::Kek(bytes) => (WrapAlgorithm::A256Kw, bytes.kek()?.wrap_dek(secret).to_vec()),
            Key::GcmKek(bytes) => (WrapAlgorithm::A256GcmKw, gcm_wrap(bytes, secret)?),
            Key::RsaPublicPem(pem) | Key::EcPublicPem(pem) => {
                let public_key = PublicKey::from_pem(pem)?;
                (public_key.algorithm(), public_key.wrap_dek(secret)?)
            }
            Key::RsaPrivatePem(_) | Key::EcPrivatePem(_) => {
                return Err("wrapping takes the public key".into());
            }
        };
        let (seal, kek) = (SealName::new(&self.seal)?, KekId::new(&self.kid)?);
        Ok(part.recipient(seal, kek, algorithm, wrapped_dek))
    }
}

impl Key {
    /// What the KMS or the HSM does, where the key lies in one.
    fn unwrap_dek(&self, recipient: &Recipient) -> Outcome<RecipientSecret> {
        let wrapped = &recipient.wrapped_dek;
        match self {
            Self::Kek(bytes) => Ok(bytes.kek()?.unwrap_dek(wrapped)?),
            Self::GcmKek(bytes) => gcm_unwrap(bytes, wrapped),
            Self::RsaPrivatePem(pem) => {
                let key = PrivateDecryptingKey::from_pkcs8(&der(pem)?)?;
                let key = OaepPrivateDecryptingKey::new(key)?;
                let mut output = vec![0; key.min_output_size()];
                secret(key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None)?)
            }
            Self::EcPrivatePem(pem) => {
                Ok(EcPrivateKey::from_pkcs8(&der(pem)?)?.unwrap_dek(wrapped)?)
            }
            Self::RsaPublicPem(_) | Self::EcPublicPem(_) => {
                Err("unwrapping takes the private key".into())
            }
        }
    }
}

/// A256GCMKW, which in earnest an HSM does: `nonce ‖ ciphertext ‖ tag`.
fn gcm_wrap(kek: &Hex, dek: &RecipientSecret) -> Outcome<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    os_random(&mut nonce)?;
    let plaintext = Plaintext::new(dek.expose_for_wrap().to_vec());
    let made = aead::encrypt(&secret(kek.key()?)?, &nonce, b"", plaintext);
    let made = made.map_err(|aead::TooLong| "too long")?;
    Ok([&nonce[..], &made.ciphertext, &made.tag].concat())
}

fn gcm_unwrap(kek: &Hex, wrapped: &[u8]) -> Outcome<RecipientSecret> {
    let (nonce, rest) = wrapped.split_first_chunk().ok_or("no nonce")?;
    let (ciphertext, tag) = rest.split_last_chunk().ok_or("no tag")?;
    let opened = aead::decrypt(&secret(kek.key()?)?, nonce, b"", ciphertext, tag);
    secret(opened.map_err(|aead::TagMismatch| "another key")?.expose_for_own_use())
}

fn secret(bytes: &[u8]) -> Outcome<RecipientSecret> {
    let bytes: &[u8; 32] = bytes.try_into()?;
    Ok(RecipientSecret::init_with(|place| *place = *bytes))
}

impl Binding {
    fn aad(&self) -> Aad<'_> {
        Aad { associated_data: &self.associated_data.0, context: &self.context.0 }
    }

    fn origin_key(&self) -> Outcome<Option<OriginKey>> {
        let key = self.origin_key.as_ref().map(|bytes| {
            let key = bytes.key()?;
            Ok::<_, Box<dyn Error>>(OriginKey::init_with(|to| to.copy_from_slice(key))?)
        });
        key.transpose()
    }
}

impl Hex {
    fn key(&self) -> Outcome<&[u8; 32]> {
        Ok(self.0.first_chunk().filter(|_| self.0.len() == 32).ok_or("a key has 32 bytes")?)
    }

    fn kek(&self) -> Outcome<Kek> {
        let key = self.key()?;
        Ok(Kek::init_with(|to| to.copy_from_slice(key))?)
    }
}

impl TryFrom<String> for Hex {
    type Error = Box<dyn Error>;

    fn try_from(text: String) -> Outcome<Self> {
        Ok(Self(base16ct::mixed::decode_vec(text)?))
    }
}

/// The DER inside a PEM text (RFC 7468).
fn der(pem: &str) -> Outcome<Vec<u8>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let decoded = decode_secret(lines.collect::<String>().as_bytes()).ok();
    Ok(decoded.ok_or("not PEM")?.expose_for_own_use().to_vec())
}
