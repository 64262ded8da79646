//! What the child that loads an HSM's library answers, in one spelling.

use selkie_memory::WipedVec;

use crate::SECRET_BYTES;
use crate::request::KeyName;
use crate::wire::{Malformed, Reader, Writer};

/// What the child answers.
#[derive(Debug)]
pub enum Reply {
    /// To [`Request::Open`](crate::Request::Open).
    Opened(Token),
    /// To [`Request::Inspect`](crate::Request::Inspect).
    Keys(Vec<KeyFacts>),
    /// To [`Request::Wrap`](crate::Request::Wrap).
    Wrapped(Vec<u8>),
    /// To [`Request::Unwrap`](crate::Request::Unwrap): 32 bytes.
    Dek(WipedVec),
    /// To any.
    Failed(Failure),
}

/// What a token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its serial number.
    pub serial: String,
    /// Its label.
    pub label: String,
    /// Maker and model.
    pub model: String,
    /// The number of its slot.
    pub slot: u64,
    /// It lists `CKM_AES_GCM`.
    pub aes_gcm: bool,
    /// It lists `CKM_AES_KEY_WRAP`.
    pub aes_key_wrap: bool,
    /// It lists `CKM_RSA_PKCS_OAEP`, with whatever hash.
    pub rsa_oaep: bool,
}

/// What a token says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its label and id.
    pub name: KeyName,
    /// What it is.
    pub kind: KeyKind,
    /// What it may be used for.
    pub uses: Uses,
    /// Whether the token gives it away, wrapped or not.
    pub extractable: bool,
}

/// What a key may be used for, as its attributes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four attributes of PKCS#11")]
pub struct Uses {
    /// `CKA_ENCRYPT`.
    pub encrypt: bool,
    /// `CKA_DECRYPT`.
    pub decrypt: bool,
    /// `CKA_WRAP`.
    pub wrap: bool,
    /// `CKA_UNWRAP`.
    pub unwrap: bool,
}

/// What a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An AES key of so many bytes.
    Aes {
        /// 16, 24 or 32.
        bytes: u16,
    },
    /// An RSA key pair.
    Rsa {
        /// Big-endian.
        modulus: Vec<u8>,
        /// Big-endian.
        exponent: Vec<u8>,
        /// Whether the token begins a decryption by OAEP with SHA-256.
        oaep_sha256: bool,
    },
    /// Something else.
    Other,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// On which step.
    pub stage: Stage,
    /// What kind of failure.
    pub class: Class,
    /// The function and its result, or the loader's words; for people.
    pub said: String,
}

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$said:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$said])* $variant,)+ }

        impl $name {
            const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            const fn of_code(code: u8) -> Result<Self, Malformed> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(Malformed),
                }
            }
        }
    };
}

codes! {
    /// A step on the way to a key.
    Stage {
        /// Loading and initialising the library.
        Library = 1,
        /// Finding the token.
        Slot = 2,
        /// Opening a session and logging in.
        Login = 3,
        /// Finding the key.
        Key = 4,
        /// Wrapping.
        Wrap = 5,
        /// Unwrapping.
        Unwrap = 6,
    }
}

codes! {
    /// What kind of failure.
    Class {
        /// The library cannot be loaded, or is none of PKCS#11.
        NoLibrary = 1,
        /// No slot fits.
        NoSlot = 2,
        /// More than one slot fits.
        SeveralSlots = 3,
        /// The PIN is wrong; it must not be sent again.
        PinRefused = 4,
        /// The token says that it has one try left or none: nothing was tried.
        PinSpared = 5,
        /// The user may not do it, or cannot log in for another reason than the PIN.
        NotPermitted = 6,
        /// What was to be unwrapped is wrong.
        Rejected = 7,
        /// No key fits.
        NoKey = 8,
        /// More than one key fits.
        SeveralKeys = 9,
        /// Token or key do not do this.
        Unfit = 10,
        /// The token has no room or no session left.
        Busy = 11,
        /// Token, slot or session are gone, and opening them again did not help.
        Lost = 12,
        /// The library broke its own rules.
        Odd = 13,
        /// Anything else.
        Failed = 14,
        /// The PIN is locked or expired; somebody has to do something about that first.
        PinLocked = 15,
    }
}

impl Failure {
    /// The longest [`Failure::said`] that is sent.
    pub const MAX_SAID_BYTES: usize = 512;

    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        writer.u8(self.stage.code());
        writer.u8(self.class.code());
        let end = self.said.floor_char_boundary(Self::MAX_SAID_BYTES);
        writer.bytes(self.said.get(..end).unwrap_or_default().as_bytes())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (stage, class) = (Stage::of_code(reader.u8()?)?, Class::of_code(reader.u8()?)?);
        let said = reader.text()?;
        if said.len() > Self::MAX_SAID_BYTES {
            return Err(Malformed);
        }
        Ok(Self { stage, class, said })
    }
}

impl Reply {
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Opened(token) => {
                writer.u8(1);
                token.write(writer)
            }
            Self::Keys(keys) => {
                writer.u8(2);
                writer.u16(u16::try_from(keys.len()).or(Err(Malformed))?);
                keys.iter().try_for_each(|key| key.write(writer))
            }
            Self::Wrapped(wrapped) => {
                writer.u8(3);
                writer.bytes(wrapped)
            }
            Self::Dek(dek) if dek.len() == SECRET_BYTES => {
                writer.u8(4);
                writer.raw(dek);
                Ok(())
            }
            Self::Dek(_) => Err(Malformed),
            Self::Failed(failure) => {
                writer.u8(5);
                failure.write(writer)
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Token::read(reader).map(Self::Opened),
            2 => {
                let count = reader.u16()?;
                (0..count).map(|_| KeyFacts::read(reader)).collect::<Result<_, _>>().map(Self::Keys)
            }
            3 => reader.bytes().map(|wrapped| Self::Wrapped(wrapped.to_vec())),
            4 => reader.raw(SECRET_BYTES).map(|dek| Self::Dek(WipedVec::new(dek.to_vec()))),
            5 => Failure::read(reader).map(Self::Failed),
            _ => Err(Malformed),
        }
    }
}

impl Token {
    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        for text in [&self.serial, &self.label, &self.model] {
            writer.bytes(text.as_bytes())?;
        }
        writer.u64(self.slot);
        for flag in [self.aes_gcm, self.aes_key_wrap, self.rsa_oaep] {
            writer.u8(u8::from(flag));
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            serial: reader.text()?,
            label: reader.text()?,
            model: reader.text()?,
            slot: reader.u64()?,
            aes_gcm: reader.flag()?,
            aes_key_wrap: reader.flag()?,
            rsa_oaep: reader.flag()?,
        })
    }
}

impl KeyFacts {
    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        writer.bytes(&self.name.label)?;
        writer.bytes(&self.name.id)?;
        self.kind.write(writer)?;
        let Uses { encrypt, decrypt, wrap, unwrap } = self.uses;
        for flag in [encrypt, decrypt, wrap, unwrap, self.extractable] {
            writer.u8(u8::from(flag));
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let name = KeyName { label: reader.bytes()?.to_vec(), id: reader.bytes()?.to_vec() };
        let kind = KeyKind::read(reader)?;
        let uses = Uses {
            encrypt: reader.flag()?,
            decrypt: reader.flag()?,
            wrap: reader.flag()?,
            unwrap: reader.flag()?,
        };
        Ok(Self { name, kind, uses, extractable: reader.flag()? })
    }
}

impl KeyKind {
    fn write(&self, writer: &mut Writer) -> Result<(), Malformed> {
        match self {
            Self::Aes { bytes } => {
                writer.u8(1);
                writer.u16(*bytes);
            }
            Self::Rsa { modulus, exponent, oaep_sha256 } => {
                writer.u8(2);
                writer.bytes(modulus)?;
                writer.bytes(exponent)?;
                writer.u8(u8::from(*oaep_sha256));
            }
            Self::Other => writer.u8(3),
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Self::Aes { bytes: reader.u16()? }),
            2 => Ok(Self::Rsa {
                modulus: reader.bytes()?.to_vec(),
                exponent: reader.bytes()?.to_vec(),
                oaep_sha256: reader.flag()?,
            }),
            3 => Ok(Self::Other),
            _ => Err(Malformed),
        }
    }
}
