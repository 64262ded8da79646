//! Makes and opens envelopes with given keys, to be set against another implementation
//! (`tests/jwcrypto/interop.py`). For tests only: keys and plaintexts pass in the clear.
//!
//! ```text
//! envelope make < request.json > reply.json
//!   {"header": HEADER, "plaintext": HEX, BINDING,
//!    "recipients": [{"seal": .., "kid": .., KEY}, ..]} -> {"envelope": TEXT}
//! envelope open < request.json > reply.json
//!   {"header": HEADER, "envelope": TEXT, "recipient": INDEX, KEY, BINDING} -> {"plaintext": HEX}
//! HEADER   {"purpose": .., "realm": .., "mount": .., "key": .., "version": .., "created": ..}
//! KEY      "kek": HEX, or "rsa_public_pem" to make, "rsa_private_pem" to open
//! BINDING  "associated_data": HEX, "context": HEX, "origin_key": HEX; each may be left out
//! ```
//!
//! Exit status 1, with the reason on standard error, where the envelope is refused.

use std::error::Error;
use std::io;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use selkie_crypto::base64::decode_secret;
use selkie_crypto::envelope::{Aad, Draft, Expected, Header, Purpose, Recipient};
use selkie_crypto::{
    Envelope, Kek, KekId, KeyVersion, OriginKey, Plaintext, RecipientSecret, RsaPublicKey,
    SealName, WrapAlgorithm, os_random,
};
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Make {
    header: HeaderFields,
    plaintext: Hex,
    recipients: Vec<RecipientFields>,
    #[serde(flatten)]
    binding: Binding,
}

#[derive(Deserialize)]
struct Open {
    header: HeaderFields,
    envelope: String,
    recipient: usize,
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    binding: Binding,
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
    RsaPublicPem(String),
    RsaPrivatePem(String),
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
}

fn main() -> Outcome<()> {
    let reply = match std::env::args().nth(1).as_deref() {
        Some("make") => make(&serde_json::from_reader(io::stdin())?)?,
        Some("open") => open(&serde_json::from_reader(io::stdin())?)?,
        _ => return Err("usage: envelope make|open < request.json".into()),
    };
    Ok(serde_json::to_writer(io::stdout(), &reply)?)
}

fn make(request: &Make) -> Outcome<Reply> {
    let draft = Draft::new(&os_random)?;
    let wrap = |recipient: &RecipientFields| recipient.wrap(draft.secret());
    let recipients = request.recipients.iter().map(wrap).collect::<Outcome<Vec<_>>>()?;
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
    let recipient = envelope.recipients().get(request.recipient).ok_or("no such recipient")?;
    let plaintext = envelope
        .decrypt(&request.key.unwrap_dek(recipient)?, request.binding.aad())
        .map_err(|error| error.refusal_for_log().to_string())?;
    Ok(Reply::Plaintext(hex(plaintext.expose_for_reply())))
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
    fn wrap(&self, dek: &RecipientSecret) -> Outcome<Recipient> {
        let (algorithm, wrapped_dek) = match &self.key {
            Key::Kek(bytes) => (WrapAlgorithm::A256Kw, bytes.kek()?.wrap_dek(dek).to_vec()),
            Key::RsaPublicPem(pem) => {
                let public_key = RsaPublicKey::from_spki_der(&der(pem)?)?;
                (WrapAlgorithm::RsaOaep256, public_key.wrap_dek(dek)?)
            }
            Key::RsaPrivatePem(_) => return Err("wrapping takes the public key".into()),
        };
        Ok(Recipient {
            seal: SealName::new(&self.seal)?,
            kek: KekId::new(&self.kid)?,
            algorithm,
            wrapped_dek,
            share: None,
        })
    }
}

impl Key {
    /// What the KMS does where the key is an RSA key.
    fn unwrap_dek(&self, recipient: &Recipient) -> Outcome<RecipientSecret> {
        match self {
            Self::Kek(bytes) => Ok(bytes.kek()?.unwrap_dek(&recipient.wrapped_dek)?),
            Self::RsaPrivatePem(pem) => {
                let key = PrivateDecryptingKey::from_pkcs8(&der(pem)?)?;
                let key = OaepPrivateDecryptingKey::new(key)?;
                let mut output = vec![0; key.min_output_size()];
                let wrapped = &recipient.wrapped_dek;
                let dek = key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None)?;
                let dek: &[u8; 32] = (&*dek).try_into()?;
                Ok(RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek)))
            }
            Self::RsaPublicPem(_) => Err("unwrapping takes the private key".into()),
        }
    }
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
        let digits = |pair: &[u8]| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?);
        text.as_bytes().chunks(2).map(digits).collect::<Outcome<_>>().map(Self)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The DER inside a PEM text (RFC 7468).
fn der(pem: &str) -> Outcome<Vec<u8>> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let decoded = decode_secret(lines.collect::<String>().as_bytes()).ok();
    Ok(decoded.ok_or("not PEM")?.expose_for_reply().to_vec())
}
