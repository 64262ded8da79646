//! One imaginary deployment with fixed keys, to which all envelopes here belong.

use std::sync::LazyLock;

use selkie_crypto::envelope::{Aad, Draft, Expected, Header, Purpose, Recipient};
use selkie_crypto::{
    DecryptError, Envelope, Kek, KekId, KeyVersion, OriginKey, Plaintext, SealName, WrapAlgorithm,
};

/// The client's associated data and context.
pub(crate) const AAD: Aad<'static> = Aad { associated_data: b"vault-1", context: b"ctx" };

static REALMS: LazyLock<[String; 1]> = LazyLock::new(|| ["realm".to_owned()]);
static MOUNTS: LazyLock<[String; 1]> = LazyLock::new(|| ["transit".to_owned()]);
static KEKS: LazyLock<[Kek; 2]> = LazyLock::new(|| [1, 2].map(kek));
static ORIGIN_KEY: LazyLock<OriginKey> =
    LazyLock::new(|| OriginKey::init_with(|bytes| bytes.fill(9)).expect("a page for a key"));

fn kek(fill: u8) -> Kek {
    Kek::init_with(|bytes| bytes.fill(fill)).expect("a page for a key")
}

/// Whether the deployment declares an `origin_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Declared,
    Undeclared,
}

impl Origin {
    fn key(self) -> Option<&'static OriginKey> {
        (self == Self::Declared).then(|| &*ORIGIN_KEY)
    }
}

/// The envelope of `plaintext` for both seals. It is always the same one: `fill` stands for the
/// randomness that makes its DEK and nonce.
pub(crate) fn encrypt(plaintext: &[u8], fill: u8, origin: Origin) -> Vec<u8> {
    let draft = Draft::new(&move |buffer: &mut [u8]| {
        buffer.fill(fill);
        Ok(())
    })
    .expect("fixed randomness does not fail");
    let recipient = |(index, kek): (usize, &Kek)| Recipient {
        seal: SealName::new(&format!("seal{index}")).expect("a valid name"),
        kek: KekId::new(&format!("kek{index}")).expect("a valid id"),
        algorithm: WrapAlgorithm::A256Kw,
        wrapped_dek: kek.wrap_dek(draft.secret()).to_vec(),
        share: None,
    };
    let recipients: Vec<_> = KEKS.iter().enumerate().map(recipient).collect();
    let plaintext = Plaintext::new(plaintext.to_vec());
    draft
        .encrypt(&header(), AAD, plaintext, &recipients, origin.key())
        .expect("short and with recipients")
}

pub(crate) fn parse(json: &[u8], origin: Origin) -> Result<Envelope, DecryptError> {
    let header = header();
    let expected = Expected {
        purpose: header.purpose,
        realms: &*REALMS,
        mounts: &*MOUNTS,
        key: &header.key,
        version: header.version,
        origin_key: origin.key(),
    };
    Envelope::parse(json, &expected)
}

/// The plaintext, through whichever recipient opens with whichever KEK.
pub(crate) fn decrypt(json: &[u8], origin: Origin) -> Option<Vec<u8>> {
    let envelope = parse(json, origin).ok()?;
    let deks = envelope.recipients().iter().flat_map(|recipient| {
        KEKS.iter().filter_map(|kek| kek.unwrap_dek(&recipient.wrapped_dek).ok())
    });
    let mut plaintexts = deks.filter_map(|dek| envelope.decrypt(&dek, AAD).ok());
    plaintexts.next().map(|plaintext| plaintext.expose_for_reply().to_vec())
}

fn header() -> Header<'static> {
    Header {
        purpose: Purpose::Client,
        realm: "realm".into(),
        mount: "transit".into(),
        key: "unseal".into(),
        version: KeyVersion::FIRST,
        created: 1_764_000_000,
    }
}
