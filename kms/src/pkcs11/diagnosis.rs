//! What failed on the way to a key in an HSM, and what mends it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use selkie_pkcs11_protocol::{Class, Failure, Stage};

use super::child::Gone;
use crate::{Cause, KmsError};

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// On which step.
    pub stage: Stage,
    /// The fault.
    pub fault: Fault,
    /// The library's function and its result, the loader's words, or what was found instead.
    pub said: Option<String>,
    /// It is of a previous version alone.
    pub is_of_previous: bool,
}

/// What is wrong with an HSM, or the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program `selkie-pkcs11` cannot be started.
    NoProgram,
    /// The process that starts `selkie-pkcs11` for this server has ended.
    NobodyLaunches,
    /// The process that loads the library has ended.
    Crashed {
        /// The signal that ended it.
        signal: Option<i32>,
        /// The code that it ended with.
        code: Option<i32>,
    },
    /// The library did not answer in its time, and its process was ended.
    Hung,
    /// The process was ended because of another call.
    Stopped,
    /// The process was ended not long ago, and again not long before.
    Resting,
    /// The library is busy with others.
    NoSession,
    /// What came back is no answer.
    Nonsense,
    /// The key's type and attributes, or the token's mechanisms, do not allow it.
    Unsuitable(Unsuitable),
    /// Two of the ids that the configuration lists are one key.
    SameKey,
    /// The token says why.
    Token(Class),
}

/// Why a key cannot wrap as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuitable {
    /// The key is neither of AES nor of RSA.
    KeyType,
    /// An AES key of another size than 256 bits.
    AesSize,
    /// An RSA key of another size than 2048, 3072 or 4096 bits.
    RsaSize,
    /// The token decrypts by OAEP with SHA-1 alone.
    OaepSha1Alone,
    /// No mechanism suits the key's type, its attributes and the token.
    NoMechanism,
    /// The mechanism in the configuration does not suit them.
    OtherMechanism,
}

impl Diagnosis {
    pub(super) fn new(stage: Stage, fault: Fault) -> Self {
        Self { stage, fault, said: None, is_of_previous: false }
    }

    /// The same, of a previous version.
    pub(super) fn of_previous(self) -> Self {
        Self { is_of_previous: true, ..self }
    }

    pub(super) fn of_gone(stage: Stage, gone: Gone) -> Self {
        let fault = match gone {
            Gone::Ended { signal, code } => Fault::Crashed { signal, code },
            Gone::Stopped => Fault::Stopped,
            Gone::Garbled => Fault::Nonsense,
        };
        Self::new(stage, fault)
    }

    /// The diagnosis behind `error`, if this provider made it.
    #[must_use]
    pub fn of(error: &KmsError) -> Option<&Self> {
        error.source()?.downcast_ref::<Cause>()?.downcast_ref()
    }

    /// What mends it, of a seal of which nothing was ever known: nothing can be lost yet.
    #[must_use]
    pub const fn remedy_of_new(&self) -> &'static str {
        match self.fault {
            Fault::Token(Class::NoKey) if !self.is_of_previous => {
                "correct \"key_label\" or \"key_id\"; or, if nothing was ever encrypted under this \
                 seal, make the key: pkcs11-tool --keygen --key-type AES:32 --label LABEL --id ID"
            }
            _ => self.remedy(),
        }
    }

    /// What mends it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.fault {
            _ if self.is_of_previous => {
                "restore it from the backup of the HSM, alone under its id, and let it decrypt or \
                 unwrap: until then what it wrapped does not open; a new key under this id opens \
                 nothing"
            }
            Fault::NoProgram => {
                "install selkie-pkcs11 beside selkie, or name it in \"program\" of the seal"
            }
            Fault::NobodyLaunches => {
                "restart Selkie: a server in its sandbox cannot start that process itself; then find \
                 out who killed it"
            }
            Fault::Crashed { .. } | Fault::Hung | Fault::Nonsense => {
                "ask the HSM's maker about the library; it is started again by itself"
            }
            Fault::Stopped | Fault::Resting | Fault::NoSession => {
                "nothing: it is tried again by itself"
            }
            Fault::Unsuitable(unsuitable) => unsuitable.remedy(),
            Fault::SameKey => "list each id once in \"key_id\" and \"previous_key_ids\"",
            Fault::Token(class) => remedy(class),
        }
    }
}

const fn remedy(class: Class) -> &'static str {
    match class {
        Class::NoLibrary => "correct \"lib\", and install what the library needs itself",
        Class::NoSlot => {
            "connect the HSM; or correct \"slot\", \"token_label\" or \"serial\", and what the \
             library needs in \"environment\""
        }
        Class::SeveralSlots => "name one token by \"slot\", \"token_label\" or \"serial\"",
        Class::PinRefused => {
            "correct the PIN in the configuration and reload, or that of the token and restart: it is \
             not tried again by itself nor by a reload, because tokens lock"
        }
        Class::PinSpared => {
            "log in by other means, so that the token forgets the wrong tries, or have the PIN \
             unlocked: the token is asked again by itself, and the last try is never made here"
        }
        Class::PinLocked => "have the PIN unlocked or renewed in the HSM, then reload (SIGHUP)",
        Class::NotPermitted => "initialise the user PIN, and let the user use the key",
        Class::Rejected => "nothing: it was not wrapped under this key, or was changed",
        Class::NoKey => {
            "correct \"key_label\" or \"key_id\", or restore the key from the backup of the HSM: a new \
             key under this id opens nothing"
        }
        Class::SeveralKeys => {
            "choose one by \"key_id\", and list those before it in \"previous_key_ids\""
        }
        Class::Unfit => "let the key encrypt and decrypt, or wrap and unwrap, or choose another",
        Class::Busy => "lower \"max_parallel\" to what the token allows",
        Class::Lost => "connect the HSM; it is found again by itself",
        Class::Odd | Class::Failed => "ask the HSM's maker what this means",
    }
}

impl Unsuitable {
    const fn remedy(self) -> &'static str {
        match self {
            Self::KeyType | Self::AesSize => {
                "make an AES key of 256 bits: pkcs11-tool --keygen --key-type AES:32"
            }
            Self::RsaSize => "make an RSA key of 2048, 3072 or 4096 bits, or an AES key",
            Self::OaepSha1Alone => "use an AES key on this token",
            Self::NoMechanism | Self::OtherMechanism => {
                "let the key encrypt and decrypt, or wrap and unwrap, by a mechanism of the token's"
            }
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = stage(self.stage);
        let previous = if self.is_of_previous { "a previous version: " } else { "" };
        write!(f, "PKCS#11, {stage}: {previous}")?;
        match self.fault {
            Fault::NoProgram => f.write_str("selkie-pkcs11 cannot be started")?,
            Fault::NobodyLaunches => {
                f.write_str("the process that starts selkie-pkcs11 has ended")?;
            }
            Fault::Crashed { signal: Some(signal), .. } => {
                write!(f, "the library's process was ended by signal {signal}")?;
            }
            Fault::Crashed { code, .. } => {
                write!(f, "the library's process ended with code {}", code.unwrap_or(-1))?;
            }
            Fault::Hung => f.write_str("the library hangs; its process was ended")?,
            Fault::Stopped => f.write_str("the library's process was ended for another call")?,
            Fault::Resting => f.write_str("the library's process failed again and again")?,
            Fault::NoSession => f.write_str("all sessions are in use")?,
            Fault::Nonsense => f.write_str("the library's process gives no proper answer")?,
            Fault::Unsuitable(unsuitable) => f.write_str(unsuitable.told())?,
            Fault::SameKey => f.write_str("one key is listed twice")?,
            Fault::Token(class) => f.write_str(told(class))?,
        }
        self.said.as_ref().map_or(Ok(()), |said| write!(f, " ({said})"))
    }
}

/// A step in a word.
pub(super) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Library => "library",
        Stage::Slot => "slot",
        Stage::Login => "login",
        Stage::Key => "key",
        Stage::Wrap => "wrap",
        Stage::Unwrap => "unwrap",
    }
}

const fn told(class: Class) -> &'static str {
    match class {
        Class::NoLibrary => "the library cannot be loaded",
        Class::NoSlot => "no slot has such a token",
        Class::SeveralSlots => "several slots have such a token",
        Class::PinRefused => "the PIN is refused",
        Class::PinSpared => "the token is locked, or would lock with one more wrong PIN",
        Class::PinLocked => "the PIN is locked or has expired",
        Class::NotPermitted => "the token does not let us",
        Class::Rejected => "what is to be unwrapped is wrong",
        Class::NoKey => "there is no such key on the token",
        Class::SeveralKeys => "there are several such keys on the token",
        Class::Unfit => "token or key do not do this",
        Class::Busy => "the token has no session or no memory left",
        Class::Lost => "the token is not there",
        Class::Odd => "the library breaks its own rules",
        Class::Failed => "it fails",
    }
}

impl Unsuitable {
    const fn told(self) -> &'static str {
        match self {
            Self::KeyType => "the key is neither an AES nor an RSA key",
            Self::AesSize => "the AES key has another size than 256 bits",
            Self::RsaSize => "the RSA key has another size than 2048, 3072 or 4096 bits",
            Self::OaepSha1Alone => "the token has no RSA-OAEP with SHA-256, only with SHA-1",
            Self::NoMechanism => "no mechanism suits the key and the token",
            Self::OtherMechanism => "the configured mechanism does not suit the key and the token",
        }
    }
}

impl Error for Diagnosis {}

impl From<Failure> for Diagnosis {
    fn from(failure: Failure) -> Self {
        let Failure { stage, class, said } = failure;
        // It goes to logs and terminals.
        let said: String = said.chars().filter(|one| !one.is_control()).collect();
        let said = Some(said).filter(|said| !said.is_empty());
        Self { said, ..Self::new(stage, Fault::Token(class)) }
    }
}

impl From<Diagnosis> for KmsError {
    fn from(diagnosis: Diagnosis) -> Self {
        let Diagnosis { fault, is_of_previous, .. } = diagnosis;
        let cause: Option<Cause> = Some(Arc::new(diagnosis));
        match fault {
            Fault::Hung => Self::TimedOut(cause),
            Fault::NoSession | Fault::Token(Class::Busy) => {
                Self::Throttled { retry_after: None, cause }
            }
            Fault::Unsuitable(_) | Fault::SameKey | Fault::Token(Class::Unfit) => {
                Self::Disabled(cause)
            }
            Fault::Nonsense | Fault::Token(Class::Odd) => Self::Misbehaved(cause),
            // Found at a look for that one key: the token is there, and serves others.
            Fault::Token(Class::Failed) if is_of_previous => Self::Misbehaved(cause),
            Fault::Token(
                Class::PinRefused
                | Class::PinSpared
                | Class::PinLocked
                | Class::NotPermitted
                | Class::SeveralSlots
                | Class::SeveralKeys,
            ) => Self::Denied(cause),
            Fault::Token(Class::Rejected) => Self::Rejected(cause),
            Fault::Token(Class::NoKey) => Self::UnknownKek(cause),
            Fault::NoProgram
            | Fault::NobodyLaunches
            | Fault::Crashed { .. }
            | Fault::Stopped
            | Fault::Resting
            | Fault::Token(Class::NoLibrary | Class::NoSlot | Class::Lost | Class::Failed) => {
                Self::Unavailable(cause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_is_found_behind_its_error_and_names_step_and_result() {
        let said = "C_Login: PinIncorrect\u{1b}[31m".to_owned();
        let failure = Failure { stage: Stage::Login, class: Class::PinRefused, said };
        let error = KmsError::from(Diagnosis::from(failure));
        assert!(matches!(error, KmsError::Denied(_)), "{error:?}");
        let diagnosis = Diagnosis::of(&error).unwrap();
        let told = diagnosis.to_string();
        assert_eq!(told, "PKCS#11, login: the PIN is refused (C_Login: PinIncorrect[31m)");
        assert!(diagnosis.remedy().contains("not tried again"));
    }

    #[test]
    fn a_new_key_is_advised_only_for_a_seal_that_was_never_used() {
        let missing = Diagnosis::new(Stage::Key, Fault::Token(Class::NoKey));
        assert!(missing.remedy_of_new().contains("--keygen"));
        for remedy in [missing.remedy(), missing.of_previous().remedy_of_new()] {
            assert!(!remedy.contains("--keygen"), "{remedy}");
            assert!(remedy.contains("backup of the HSM"), "{remedy}");
        }
    }

    #[test]
    fn what_may_pass_is_transient_and_the_rest_is_not() {
        let is_transient =
            |fault| KmsError::from(Diagnosis::new(Stage::Unwrap, fault)).is_transient();
        for passing in [
            Fault::Hung,
            Fault::Crashed { signal: Some(11), code: None },
            Fault::Token(Class::Lost),
            Fault::Token(Class::Busy),
            Fault::Token(Class::NoSlot),
        ] {
            assert!(is_transient(passing), "{passing:?}");
        }
        for lasting in [
            Fault::Token(Class::PinRefused),
            Fault::Token(Class::Rejected),
            Fault::Token(Class::NoKey),
            Fault::Unsuitable(Unsuitable::OaepSha1Alone),
        ] {
            assert!(!is_transient(lasting), "{lasting:?}");
        }
    }
}
