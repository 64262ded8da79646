//! Shares of a DEK: split, verified, combined.

use std::error::Error;

use selkie_crypto::envelope::{
    Aad, Draft, EncryptError, EnvelopeRefusal, Quorum, Recipient, Share,
};
use selkie_crypto::{DecryptError, Envelope, KekId, RandomError, SealName, WrapAlgorithm};

use crate::envelope::{envelope, header, must_refuse};
use crate::memcheck::{declassify, poison};
use crate::poisoned;
use crate::table::{Call, Expected, Table};

const NEEDED: usize = 3;

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let draft = table.observe(call("Draft::with_quorum", Expected::Exactly(0), ""), split)?;
    let last = draft.part(4).ok_or("a quorum of five has five parts")?;
    table.must_carry_secret(last.secret().expose_for_wrap());
    mark(table, &draft)?;
    let json = encrypt(table)?;
    let envelope = envelope(&json, None)?;
    let shares = verify(table, &envelope)?;
    combine(table, &envelope, &shares)
}

const fn call(name: &'static str, expected: Expected, reason: &'static str) -> Call {
    Call { name, bytes: 32, expected, reason }
}

/// A draft of which everything that was drawn is poisoned but the nonce, which is the first draw's
/// end.
fn split() -> Result<Draft, RandomError> {
    let quorum = Quorum::new(3, 5).map_err(|_| RandomError)?;
    Draft::with_quorum(quorum, &|buffer: &mut [u8]| {
        for (byte, fill) in buffer.iter_mut().zip(1..) {
            *byte = fill;
        }
        match buffer {
            [dek @ .., _, _, _, _, _, _, _, _, _, _, _, _] if dek.len() == 32 => poison(dek),
            coefficients => poison(coefficients),
        }
        Ok(())
    })
}

fn mark(table: &mut Table, draft: &Draft) -> Result<(), Box<dyn Error>> {
    let recipient = || {
        let part = draft.part(0)?;
        let (seal, kek) = (SealName::new("s").ok()?, KekId::new("k").ok()?);
        Some(part.recipient(seal, kek, WrapAlgorithm::A256Kw, Vec::new()))
    };
    let made = table.observe(call("Draft::part", Expected::Exactly(0), ""), recipient);
    let share = made.and_then(|recipient| recipient.share).ok_or("a part without a share")?;
    table.must_carry_secret(&share.mac);
    Ok(())
}

/// An envelope for five recipients; marks and wrapped shares are public.
fn encrypt(table: &mut Table) -> Result<Vec<u8>, Box<dyn Error>> {
    let draft = split()?;
    let recipients = (0..5).map(|at| recipient(&draft, at)).collect::<Result<Vec<_>, _>>()?;
    let plaintext = poisoned::plaintext(32);
    let name = "Draft::encrypt, quorum";
    let made: Result<Vec<u8>, EncryptError> = table
        .observe(call(name, Expected::Exactly(0), ""), || {
            draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None)
        });
    let mut json = made?;
    table.publish(&mut json);
    Ok(json)
}

fn recipient(draft: &Draft, at: usize) -> Result<Recipient, Box<dyn Error>> {
    let part = draft.part(at).ok_or("too few parts")?;
    let mut wrapped_dek = poisoned::kek(3)?.wrap_dek(part.secret()).to_vec();
    declassify(&mut wrapped_dek);
    let (seal, kek) = (SealName::new(&format!("s{at}"))?, KekId::new("k")?);
    let mut recipient = part.recipient(seal, kek, WrapAlgorithm::A256Kw, wrapped_dek);
    if let Some(share) = &mut recipient.share {
        declassify(&mut share.mac);
    }
    Ok(recipient)
}

fn verify(table: &mut Table, envelope: &Envelope) -> Result<Vec<Share>, Box<dyn Error>> {
    let kek = poisoned::kek(3)?;
    let mut shares = Vec::new();
    let accept = |name| call(name, Expected::Exactly(1), "accept or refuse");
    for recipient in envelope.recipients() {
        let secret = kek.unwrap_dek(&recipient.wrapped_dek)?;
        let verify = || envelope.verify_share(recipient, &secret);
        let verified: Result<Share, DecryptError> =
            table.observe(accept("Envelope::verify_share"), verify);
        shares.push(verified?);
    }
    let recipient = envelope.recipients().first().ok_or("no recipient")?;
    let wrong = poisoned::dek(9);
    let name = "Envelope::verify_share, another secret";
    let refused = table.observe(accept(name), || envelope.verify_share(recipient, &wrong));
    must_refuse(refused, EnvelopeRefusal::Share)?;
    Ok(shares)
}

fn combine(table: &mut Table, envelope: &Envelope, shares: &[Share]) -> Result<(), Box<dyn Error>> {
    let shares = shares.get(..NEEDED).ok_or("too few shares")?;
    let combined = table.observe(call("Envelope::combine", Expected::Exactly(0), ""), || {
        envelope.combine(shares)
    })?;
    table.must_carry_secret(combined.expose_for_wrap());
    let plaintext = envelope.decrypt(&combined, Aad::default())?;
    table.must_carry_secret(plaintext.expose_for_reply());

    // It has no secret of its own, so there is nothing to report.
    let refuse = || envelope.refuse(Aad::default());
    let refused = table.observe(call("Envelope::refuse", Expected::Exactly(0), ""), refuse);
    if refused.refusal_for_log() != EnvelopeRefusal::Quorum {
        return Err("refused otherwise".into());
    }
    Ok(())
}
