//! What the child that loads an HSM's library is asked, in one spelling.

use selkie_memory::WipedVec;

use crate::wire::{Malformed, Reader, Writer};
use crate::{NONCE_BYTES, SECRET_BYTES};

/// What the child is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Load the library, find the token, log in. The first request, and the only one of its kind.
    Open(Open),
    /// Tell of the keys that match.
    Inspect(Selector),
    /// Wrap a DEK.
    Wrap {
        /// Under which key.
        key: KeyName,
        /// How.
        mechanism: Mechanism,
        /// A fresh random nonce, for AES-GCM alone.
        nonce: [u8; NONCE_BYTES],
        /// The DEK: 32 bytes.
        dek: WipedVec,
    },
    /// Unwrap a DEK.
    Unwrap {
        /// Under which key.
        key: KeyName,
        /// How.
        mechanism: Mechanism,
        /// What the wrap gave.
        wrapped: Vec<u8>,
        /// What tells a session that fails from a wrong `wrapped`, where `key` itself wraps nothing.
        witness: Option<Witness>,
    },
}

/// Which token of which library, and how one logs in there.
#[derive(Debug)]
pub struct Open {
    /// The library's path.
    pub library: String,
    /// Which of its slots.
    pub slot: SlotChoice,
    /// The user's PIN.
    pub pin: WipedVec,
    /// How many sessions to keep, one for each call at a time.
    pub sessions: u16,
}

/// A slot by all that is said of it; exactly one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotChoice {
    /// The slot's number, as the library has it.
    pub id: Option<u64>,
    /// The label of the token in it.
    pub token_label: Option<String>,
    /// The serial number of the token in it.
    pub serial: Option<String>,
}

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Their `CKA_LABEL`.
    pub label: Option<Vec<u8>>,
    /// Their `CKA_ID`.
    pub id: Option<Vec<u8>>,
}

/// One key of a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Its `CKA_LABEL`.
    pub label: Vec<u8>,
    /// Its `CKA_ID`.
    pub id: Vec<u8>,
}

/// A key that wraps and unwraps, and how it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Which.
    pub key: KeyName,
    /// How.
    pub mechanism: Mechanism,
}

/// How a token wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `CKM_AES_GCM`: 12 bytes of nonce, no associated data, 128 bits of tag.
    AesGcm,
    /// `CKM_AES_KEY_WRAP` (RFC 3394).
    AesKeyWrap,
    /// `CKM_RSA_PKCS_OAEP` with SHA-256 and MGF1 with SHA-256, without a label.
    RsaOaepSha256,
}

impl Mechanism {
    const ALL: [Self; 3] = [Self::AesGcm, Self::AesKeyWrap, Self::RsaOaepSha256];

    const fn code(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::AesKeyWrap => 2,
            Self::RsaOaepSha256 => 3,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = reader.u8()?;
        Self::ALL.into_iter().find(|one| one.code() == code).ok_or(Malformed)
    }
}

impl KeyName {
    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        writer.bytes(&self.label)?;
        writer.bytes(&self.id)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { label: reader.bytes()?.to_vec(), id: reader.bytes()?.to_vec() })
    }
}

impl Witness {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { mechanism: Mechanism::read(reader)?, key: KeyName::read(reader)? })
    }
}

impl Request {
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Open(open) => {
                writer.u8(1);
                open.write(writer)
            }
            Self::Inspect(Selector { label, id }) => {
                writer.u8(2);
                writer.option(label.as_deref(), Writer::bytes)?;
                writer.option(id.as_deref(), Writer::bytes)
            }
            Self::Wrap { key, mechanism, nonce, dek } => {
                writer.u8(3);
                key.write(writer)?;
                writer.u8(mechanism.code());
                writer.raw(nonce);
                if dek.len() != SECRET_BYTES {
                    return Err(Malformed);
                }
                writer.raw(dek);
                Ok(())
            }
            Self::Unwrap { key, mechanism, wrapped, witness } => {
                writer.u8(4);
                key.write(writer)?;
                writer.u8(mechanism.code());
                writer.bytes(wrapped)?;
                writer.option(witness.as_ref(), |writer, witness| {
                    writer.u8(witness.mechanism.code());
                    witness.key.write(writer)
                })
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Open::read(reader).map(Self::Open),
            2 => {
                let bytes = |reader: &mut Reader<'_>| reader.bytes().map(<[u8]>::to_vec);
                let (label, id) = (reader.option(bytes)?, reader.option(bytes)?);
                Ok(Self::Inspect(Selector { label, id }))
            }
            3 => Ok(Self::Wrap {
                key: KeyName::read(reader)?,
                mechanism: Mechanism::read(reader)?,
                nonce: reader.array()?,
                dek: WipedVec::new(reader.raw(SECRET_BYTES)?.to_vec()),
            }),
            4 => Ok(Self::Unwrap {
                key: KeyName::read(reader)?,
                mechanism: Mechanism::read(reader)?,
                wrapped: reader.bytes()?.to_vec(),
                witness: reader.option(Witness::read)?,
            }),
            _ => Err(Malformed),
        }
    }
}

impl Open {
    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        let text = |writer: &mut Writer, text: &str| writer.bytes(text.as_bytes());
        writer.bytes(self.library.as_bytes())?;
        writer.option(self.slot.id.as_ref(), |writer, id| {
            writer.u64(*id);
            Ok(())
        })?;
        writer.option(self.slot.token_label.as_deref(), text)?;
        writer.option(self.slot.serial.as_deref(), text)?;
        writer.bytes(&self.pin)?;
        writer.u16(self.sessions);
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let library = reader.text()?;
        let id = reader.option(Reader::u64)?;
        let (token_label, serial) = (reader.option(Reader::text)?, reader.option(Reader::text)?);
        let slot = SlotChoice { id, token_label, serial };
        let pin = WipedVec::new(reader.bytes()?.to_vec());
        Ok(Self { library, slot, pin, sessions: reader.u16()? })
    }
}
