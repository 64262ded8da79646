//! The envelope as a whole.

use std::error::Error;

use selkie_crypto::aead::NONCE_BYTES;
use selkie_crypto::envelope::{
    Aad, Draft, EnvelopeRefusal, Expected as Place, Header, Purpose, Recipient,
};
use selkie_crypto::{
    DecryptError, Envelope, KekId, KeyVersion, OriginKey, RandomError, SealName, WrapAlgorithm,
};

use crate::memcheck::{declassify, poison};
use crate::poisoned;
use crate::table::{Call, Expected, Table};

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    draft(table)?;
    for bytes in [32, 1000] {
        let origin_key = poisoned::origin_key(5)?;
        encrypt_unsigned(table, bytes)?;
        let json = encrypt_signed(table, bytes, &origin_key)?;
        parse(table, bytes, &json, &origin_key)?;
        decrypt(table, bytes, &json)?;
    }
    Ok(())
}

fn draft(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let call = Call { name: "Draft::new", bytes: 32, expected: Expected::Exactly(0), reason: "" };
    let draft = table.observe(call, new_draft)?;
    table.must_carry_secret(draft.secret().expose_for_wrap());
    Ok(())
}

fn encrypt_unsigned(table: &mut Table, bytes: usize) -> Result<(), Box<dyn Error>> {
    let name = "Draft::encrypt";
    let call = Call { name, bytes, expected: Expected::Exactly(0), reason: "" };
    let json = table.observe(call, || encrypt(bytes, None))?;
    table.must_carry_secret(&json);
    Ok(())
}

fn encrypt_signed(
    table: &mut Table,
    bytes: usize,
    origin_key: &OriginKey,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let name = "Draft::encrypt, origin key";
    let call = Call { name, bytes, expected: Expected::Exactly(0), reason: "" };
    let mut json = table.observe(call, || encrypt(bytes, Some(origin_key)))?;
    table.publish(&mut json);
    Ok(json)
}

fn parse(
    table: &mut Table,
    bytes: usize,
    json: &[u8],
    origin_key: &OriginKey,
) -> Result<(), Box<dyn Error>> {
    let call =
        |name| Call { name, bytes, expected: Expected::Exactly(1), reason: "accept or refuse" };
    table.observe(call("Envelope::parse, origin key"), || envelope(json, Some(origin_key)))?;
    let another = poisoned::origin_key(6)?;
    let name = "Envelope::parse, another origin key";
    let refused = table.observe(call(name), || envelope(json, Some(&another)));
    must_refuse(refused, EnvelopeRefusal::Origin)
}

fn decrypt(table: &mut Table, bytes: usize, json: &[u8]) -> Result<(), Box<dyn Error>> {
    let envelope = envelope(json, None)?;
    let bound = Aad::default();
    let other = Aad { associated_data: b"other", context: b"" };
    let call = |name| Call {
        name,
        bytes,
        expected: Expected::Between(1, 3),
        reason: "accept or refuse: aead::decrypt's and the commitment, joined or not",
    };
    let dek = poisoned::dek(7);
    let plaintext = table.observe(call("Envelope::decrypt"), || envelope.decrypt(&dek, bound))?;
    table.must_carry_secret(plaintext.expose_for_reply());

    let bad_tag = call("Envelope::decrypt, other associated data");
    let refused = table.observe(bad_tag, || envelope.decrypt(&dek, other));
    must_refuse(refused, EnvelopeRefusal::Tag)?;

    let another = poisoned::dek(8);
    let bad_commitment = call("Envelope::decrypt, another DEK");
    let refused = table.observe(bad_commitment, || envelope.decrypt(&another, bound));
    must_refuse(refused, EnvelopeRefusal::Commitment)
}

pub(crate) fn must_refuse<T>(
    answer: Result<T, DecryptError>,
    refusal: EnvelopeRefusal,
) -> Result<(), Box<dyn Error>> {
    match answer {
        Err(error) if error.refusal_for_log() == refusal => Ok(()),
        Err(error) => Err(format!("refused, but because: {}", error.refusal_for_log()).into()),
        Ok(_) => Err("what must be refused was accepted".into()),
    }
}

/// A draft whose DEK is poisoned; its nonce, which comes last of what is drawn, is public from the
/// start.
fn new_draft() -> Result<Draft, RandomError> {
    Draft::new(&|buffer: &mut [u8]| {
        buffer.fill(7);
        let (dek, _nonce) = buffer.split_at_mut(buffer.len() - NONCE_BYTES);
        poison(dek);
        Ok(())
    })
}

fn encrypt(bytes: usize, origin_key: Option<&OriginKey>) -> Result<Vec<u8>, Box<dyn Error>> {
    let draft = new_draft()?;
    let mut wrapped_dek = poisoned::kek(3)?.wrap_dek(draft.secret()).to_vec();
    declassify(&mut wrapped_dek);
    let recipient = Recipient {
        seal: SealName::new("seal")?,
        kek: KekId::new("kek")?,
        algorithm: WrapAlgorithm::A256Kw,
        wrapped_dek,
        share: None,
    };
    let plaintext = poisoned::plaintext(bytes);
    Ok(draft.encrypt(&header(), Aad::default(), plaintext, &[recipient], origin_key)?)
}

pub(crate) fn header() -> Header<'static> {
    Header {
        purpose: Purpose::Client,
        realm: "realm".into(),
        mount: "transit".into(),
        key: "unseal".into(),
        version: KeyVersion::FIRST,
        created: 1_764_000_000,
    }
}

pub(crate) fn envelope(
    json: &[u8],
    origin_key: Option<&OriginKey>,
) -> Result<Envelope, DecryptError> {
    let header = header();
    let place = Place {
        purpose: header.purpose,
        realms: &[header.realm.into_owned()],
        mounts: &[header.mount.into_owned()],
        key: &header.key,
        version: header.version,
        origin_key,
    };
    Envelope::parse(json, &place)
}
