//! One imaginary deployment with fixed keys, to which all envelopes here belong.

use std::sync::LazyLock;

use selkie_crypto::envelope::{Aad, Draft, Expected, Header, Part, Purpose, Quorum, Recipient};
use selkie_crypto::{
    DecryptError, Envelope, Kek, KekId, KeyVersion, OriginKey, Plaintext, RecipientSecret,
    SealName, WrapAlgorithm, aead,
};

/// The client's associated data and context.
pub(crate) const AAD: Aad<'static> = Aad { associated_data: b"vault-1", context: b"ctx" };

static REALMS: LazyLock<[String; 1]> = LazyLock::new(|| ["realm".to_owned()]);
static MOUNTS: LazyLock<[String; 1]> = LazyLock::new(|| ["transit".to_owned()]);
static KEKS: LazyLock<[Kek; 2]> = LazyLock::new(|| [1, 2].map(kek));
static GCM_KEK: LazyLock<RecipientSecret> =
    LazyLock::new(|| RecipientSecret::init_with(|bytes| bytes.fill(3)));
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
    });
    let draft = draft.expect("fixed randomness does not fail");
    let recipients = [0, 1].map(|at| key_wrapped(&draft, at));
    finish(draft, plaintext, &recipients, origin)
}

/// The same for a quorum of two of three: both seals, and one that wraps by AES-GCM.
pub(crate) fn encrypt_quorum(plaintext: &[u8], fill: u8, origin: Origin) -> Vec<u8> {
    let quorum = Quorum::new(2, 3).expect("two of three");
    let draft = Draft::with_quorum(quorum, &move |buffer: &mut [u8]| {
        buffer.iter_mut().zip(fill..).for_each(|(byte, fill)| *byte = fill);
        Ok(())
    });
    let draft = draft.expect("fixed randomness does not fail");
    let recipients = [key_wrapped(&draft, 0), key_wrapped(&draft, 1), gcm_wrapped(&draft, 2)];
    finish(draft, plaintext, &recipients, origin)
}

fn finish(draft: Draft, plaintext: &[u8], recipients: &[Recipient], origin: Origin) -> Vec<u8> {
    let plaintext = Plaintext::new(plaintext.to_vec());
    let made = draft.encrypt(&header(), AAD, plaintext, recipients, origin.key());
    made.expect("short and with recipients")
}

fn key_wrapped(draft: &Draft, at: usize) -> Recipient {
    let part = draft.part(at).expect("a part for each");
    let wrapped = KEKS[at].wrap_dek(part.secret()).to_vec();
    recipient(part, at, WrapAlgorithm::A256Kw, wrapped)
}

fn gcm_wrapped(draft: &Draft, at: usize) -> Recipient {
    let part = draft.part(at).expect("a part for each");
    let secret = Plaintext::new(part.secret().expose_for_wrap().to_vec());
    let nonce = [5; aead::NONCE_BYTES];
    let made = aead::encrypt(&GCM_KEK, &nonce, b"", secret).expect("32 bytes");
    let wrapped = [&nonce[..], &made.ciphertext, &made.tag].concat();
    recipient(part, at, WrapAlgorithm::A256GcmKw, wrapped)
}

fn recipient(part: Part<'_>, at: usize, algorithm: WrapAlgorithm, wrapped: Vec<u8>) -> Recipient {
    let seal = SealName::new(&format!("seal{at}")).expect("a valid name");
    let kek = KekId::new(&format!("kek{at}")).expect("a valid id");
    part.recipient(seal, kek, algorithm, wrapped)
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

/// The plaintext, through whichever recipients open with whichever KEK.
pub(crate) fn decrypt(json: &[u8], origin: Origin) -> Option<Vec<u8>> {
    let envelope = parse(json, origin).ok()?;
    let secrets: Vec<_> = envelope
        .recipients()
        .iter()
        .flat_map(|recipient| unwraps(recipient).map(move |secret| (recipient, secret)))
        .collect();
    let deks = match envelope.needed() {
        1 => secrets.into_iter().map(|(_, dek)| dek).collect(),
        _ => combinations(&envelope, &secrets),
    };
    let mut plaintexts = deks.iter().filter_map(|dek| envelope.decrypt(dek, AAD).ok());
    plaintexts.next().map(|plaintext| plaintext.expose_for_reply().to_vec())
}

/// What any KEK makes of a recipient, whatever algorithm it claims.
fn unwraps(recipient: &Recipient) -> impl Iterator<Item = RecipientSecret> {
    let wrapped = &recipient.wrapped_dek;
    KEKS.iter().filter_map(|kek| kek.unwrap_dek(wrapped).ok()).chain(gcm_unwrap(wrapped))
}

fn gcm_unwrap(wrapped: &[u8]) -> Option<RecipientSecret> {
    let (nonce, rest) = wrapped.split_first_chunk()?;
    let (ciphertext, tag) = rest.split_last_chunk()?;
    let opened = aead::decrypt(&GCM_KEK, nonce, b"", ciphertext, tag).ok()?;
    let secret: &[u8; 32] = opened.expose_for_own_use().try_into().ok()?;
    Some(RecipientSecret::init_with(|bytes| *bytes = *secret))
}

/// What each two right shares combine to; one alone, or the same twice, must give nothing.
fn combinations(
    envelope: &Envelope,
    secrets: &[(&Recipient, RecipientSecret)],
) -> Vec<RecipientSecret> {
    let verify = |(recipient, secret): &(&Recipient, RecipientSecret)| {
        envelope.verify_share(recipient, secret).ok()
    };
    let mut deks = Vec::new();
    for one in secrets {
        let Some(share) = verify(one) else { continue };
        let alone = [share];
        assert!(envelope.combine(&alone).is_err(), "a share alone was combined");
        for other in secrets {
            let (Some(first), Some(second)) = (verify(one), verify(other)) else { continue };
            let is_twin = first.index() == second.index();
            let combined = envelope.combine(&[first, second]);
            assert!(!(is_twin && combined.is_ok()), "a share was combined with itself");
            deks.extend(combined);
        }
    }
    assert_eq!(
        envelope.refuse(AAD).to_string(),
        "cipher: message authentication failed",
        "invariant I4: one answer, whatever is wrong"
    );
    deks
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
