//! Where a record stands: a short path of plain segments.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

const SEPARATOR: char = '/';

/// The place of a record: segments of visible ASCII, separated by `/`, compared byte by byte.
///
/// A key is no secret and shows in errors and logs: where a record belongs to a token, its key
/// holds the token's hash. No segment is empty, `.` or `..`, so that a key can also name a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(Arc<str>);

impl RecordKey {
    /// The key one `segment` below this one.
    ///
    /// # Errors
    /// [`InvalidKey`]; a `segment` that holds a `/` is refused, so that a name chosen by a client
    /// stays where it is put.
    pub fn child(&self, segment: &str) -> Result<Self, InvalidKey> {
        check_segment(segment)?;
        let key = format!("{self}{SEPARATOR}{segment}");
        check_length(&key)?;
        Ok(Self(key.into()))
    }

    /// Whether this key has more segments than `ancestor` and begins with all of its.
    pub fn is_under(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(&*ancestor.0).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RecordKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        check_length(text)?;
        text.split(SEPARATOR).try_for_each(check_segment)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is not a [`RecordKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key is longer than [`MAX_KEY_BYTES`].
    #[error("a record key has at most {MAX_KEY_BYTES} bytes")]
    TooLong,
    /// A segment is empty; so is the whole of an empty text.
    #[error("a record key has no empty segments")]
    EmptySegment,
    /// A segment is `.` or `..`.
    #[error("a record key has no relative segments")]
    RelativeSegment,
    /// A segment holds something other than visible ASCII, or a `/`.
    #[error("a record key has visible ASCII characters only")]
    ForbiddenCharacter,
}

fn check_length(key: &str) -> Result<(), InvalidKey> {
    if key.len() > MAX_KEY_BYTES { Err(InvalidKey::TooLong) } else { Ok(()) }
}

fn check_segment(segment: &str) -> Result<(), InvalidKey> {
    match segment {
        "" => Err(InvalidKey::EmptySegment),
        "." | ".." => Err(InvalidKey::RelativeSegment),
        _ if segment.bytes().all(|b| b.is_ascii_graphic() && b != b'/') => Ok(()),
        _ => Err(InvalidKey::ForbiddenCharacter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RecordKey {
        text.parse().unwrap()
    }

    #[test]
    fn key_prints_as_it_was_parsed() {
        for text in ["a", "keys/transit/root", "tokens/9f86d0%2F", "..a/.b/c.", "~!@"] {
            assert_eq!(key(text).as_str(), text);
            assert_eq!(key(text).to_string(), text);
        }
    }

    #[test]
    fn key_refuses_what_is_no_plain_path() {
        let refused = [
            ("", InvalidKey::EmptySegment),
            ("/a", InvalidKey::EmptySegment),
            ("a/", InvalidKey::EmptySegment),
            ("a//b", InvalidKey::EmptySegment),
            ("a/./b", InvalidKey::RelativeSegment),
            ("..", InvalidKey::RelativeSegment),
            ("a b", InvalidKey::ForbiddenCharacter),
            ("a\0", InvalidKey::ForbiddenCharacter),
            ("a\u{7f}", InvalidKey::ForbiddenCharacter),
            ("schlüssel", InvalidKey::ForbiddenCharacter),
        ];
        for (text, why) in refused {
            assert_eq!(text.parse::<RecordKey>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn key_is_bounded_to_the_byte() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        assert!(longest.parse::<RecordKey>().is_ok());
        assert_eq!(format!("{longest}k").parse::<RecordKey>(), Err(InvalidKey::TooLong));
        let parent = key(&"k".repeat(MAX_KEY_BYTES - 2));
        assert!(parent.child("c").is_ok());
        assert_eq!(parent.child("cc"), Err(InvalidKey::TooLong));
    }

    #[test]
    fn child_stays_below_its_parent() {
        let child = key("keys").child("root").unwrap();
        assert_eq!(child, key("keys/root"));
        for segment in ["a/b", "../policies", "", ".."] {
            assert!(key("keys").child(segment).is_err(), "{segment:?}");
        }
    }

    #[test]
    fn only_whole_segments_put_a_key_under_another() {
        assert!(key("keys/root").is_under(&key("keys")));
        assert!(key("keys/root/1").is_under(&key("keys")));
        assert!(!key("keys").is_under(&key("keys")));
        assert!(!key("keyset/root").is_under(&key("keys")));
        assert!(!key("other/keys/root").is_under(&key("keys")));
    }
}
