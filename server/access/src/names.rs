//! The names that requests and policies are made of. Each is checked once, here.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of any kind, in bytes.
const LONGEST: usize = 256;

/// The most that the names of a token's policies may have in all, in bytes: as much as the audit log
/// tells of them.
const MOST_POLICY_BYTES: usize = 4 << 10;

/// Why a text is not the name it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there; in a mount path also nothing between two slashes.
    #[error("empty name")]
    Empty,
    /// Longer than 256 bytes.
    #[error("longer than 256 bytes")]
    TooLong,
    /// A character that this kind of name cannot have where it stands.
    #[error("character not allowed at byte {at}")]
    Character {
        /// Where, counted from 0.
        at: usize,
    },
    /// A segment `.` or `..`.
    #[error("relative path")]
    Relative,
}

/// Where a secrets engine is mounted: one or more segments, without slash at either end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountPath(Arc<str>);

impl FromStr for MountPath {
    type Err = NameError;

    /// One slash at the end is tolerated, as in Vault's own configuration.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let path = text.strip_suffix('/').unwrap_or(text);
        check_length(path)?;
        check_characters(path, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b'/'))?;
        for segment in path.split('/') {
            match segment {
                "" => return Err(NameError::Empty),
                "." | ".." => return Err(NameError::Relative),
                _ => {}
            }
        }
        Ok(Self(path.into()))
    }
}

/// The name of a transit key: Vault's `\w(([\w-.]+)?\w)?` with `\w` = `[0-9A-Za-z_]`,
/// case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

impl FromStr for KeyName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        let last = text.len() - 1;
        let outer = text.bytes().enumerate().find(|&(at, byte)| {
            let inside = at != 0 && at != last;
            !(is_word(byte) || inside && matches!(byte, b'-' | b'.'))
        });
        match outer {
            Some((at, _)) => Err(NameError::Character { at }),
            None => Ok(Self(text.into())),
        }
    }
}

/// The name of a policy, in lower case as Vault keeps it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName(Arc<str>);

impl PolicyName {
    /// Whether this is the built-in policy that allows everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "root"
    }

    /// `root`, the built-in policy that allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self("root".into())
    }

    /// `default`, the built-in policy that a client has unless it was made without.
    #[must_use]
    pub fn default_policy() -> Self {
        Self("default".into())
    }
}

impl FromStr for PolicyName {
    type Err = NameError;

    /// Upper case becomes lower case. A comma is refused: token requests separate policies by it.
    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        check_characters(text, |byte| byte.is_ascii_graphic() && byte != b',')?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

/// More policies than a token may have; Vault has no such bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies: at most {MOST_POLICY_BYTES} bytes of names in all")]
pub struct ManyPolicies;

impl ManyPolicies {
    /// Checks the policies that a token is to have.
    ///
    /// # Errors
    ///
    /// Their names are longer than that, in a list in JSON as the audit log tells it.
    pub fn check<'n>(policies: impl IntoIterator<Item = &'n PolicyName>) -> Result<(), Self> {
        let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\');
        let length = |name: &PolicyName| {
            let escapes = name.as_str().bytes().filter(is_escaped).count();
            name.as_str().len().saturating_add(escapes).saturating_add(3)
        };
        let bytes = policies.into_iter().map(length).fold(0, usize::saturating_add);
        if bytes <= MOST_POLICY_BYTES { Ok(()) } else { Err(Self) }
    }
}

fn check_length(text: &str) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        1..=LONGEST => Ok(()),
        _ => Err(NameError::TooLong),
    }
}

fn check_characters(text: &str, allowed: impl Fn(u8) -> bool) -> Result<(), NameError> {
    match text.bytes().position(|byte| !allowed(byte)) {
        Some(at) => Err(NameError::Character { at }),
        None => Ok(()),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

macro_rules! reads_as_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({:?})", stringify!($name), self.as_str())
            }
        }
    )*};
}

reads_as_text!(MountPath, KeyName, PolicyName);

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> Result<String, NameError> {
        text.parse::<MountPath>().map(|mount| mount.to_string())
    }

    #[test]
    fn mount_path_has_one_or_more_plain_segments() {
        for text in ["transit", "team/a/transit", "a.b-c_D9", "x/..y"] {
            assert_eq!(mount(text).as_deref(), Ok(text));
        }
        assert_eq!(mount("transit/").as_deref(), Ok("transit"));
    }

    #[test]
    fn mount_path_refuses_what_a_request_path_would_read_differently() {
        let refused = [
            ("", NameError::Empty),
            ("/", NameError::Empty),
            ("/transit", NameError::Empty),
            ("transit//", NameError::Empty),
            ("a//b", NameError::Empty),
            ("a/../b", NameError::Relative),
            ("./a", NameError::Relative),
            ("a+b", NameError::Character { at: 1 }),
            ("a/*", NameError::Character { at: 2 }),
            ("a b", NameError::Character { at: 1 }),
            ("a%2fb", NameError::Character { at: 1 }),
            ("\u{fc}", NameError::Character { at: 0 }),
        ];
        for (text, error) in refused {
            assert_eq!(mount(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn key_name_follows_vaults_pattern() {
        for text in ["a", "_", "0", "autounseal", "a-b", "a..b", "A-.-z", "_x_"] {
            assert_eq!(text.parse::<KeyName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        let refused =
            [("-a", 0), (".a", 0), ("a-", 1), ("a.", 1), ("-", 0), ("a/b", 1), ("a b", 1)];
        for (text, at) in refused {
            let error = text.parse::<KeyName>();
            assert_eq!(error, Err(NameError::Character { at }), "{text:?}");
        }
        assert_eq!("".parse::<KeyName>(), Err(NameError::Empty));
        assert_eq!("caf\u{e9}".parse::<KeyName>(), Err(NameError::Character { at: 3 }));
    }

    #[test]
    fn names_are_bounded() {
        let longest = "a".repeat(256);
        let longer = "a".repeat(257);
        assert!(longest.parse::<KeyName>().is_ok());
        assert!(longest.parse::<MountPath>().is_ok());
        assert!(longest.parse::<PolicyName>().is_ok());
        assert_eq!(longer.parse::<KeyName>(), Err(NameError::TooLong));
        assert_eq!(longer.parse::<MountPath>(), Err(NameError::TooLong));
        assert_eq!(longer.parse::<PolicyName>(), Err(NameError::TooLong));
    }

    #[test]
    fn key_names_keep_their_case_and_policy_names_lose_it() {
        assert_ne!("Key".parse::<KeyName>(), "key".parse::<KeyName>());
        assert_eq!("Seal-Client".parse::<PolicyName>(), "seal-client".parse::<PolicyName>());
        assert!("ROOT".parse::<PolicyName>().is_ok_and(|name| name.is_root()));
        assert!("roots".parse::<PolicyName>().is_ok_and(|name| !name.is_root()));
    }

    #[test]
    fn policy_names_refuse_commas_and_spaces() {
        assert_eq!("a,b".parse::<PolicyName>(), Err(NameError::Character { at: 1 }));
        assert_eq!("a b".parse::<PolicyName>(), Err(NameError::Character { at: 1 }));
    }
}
