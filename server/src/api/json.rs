//! Writes JSON as Go's encoder does; what may hold a token goes into memory that is wiped.

use std::io::{self, Write};

use selkie_memory::WipedVec;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// A type of ours whose map has keys that are no text; a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotSerializable;

/// Writes `value`, in which no secret is, as Go's `encoding/json` does.
pub(super) fn to_go_json(value: &impl Serialize) -> Result<Vec<u8>, NotSerializable> {
    const USUAL_BYTES: usize = 1 << 10;
    let mut json = Vec::with_capacity(USUAL_BYTES);
    write_go_json(&mut json, value)?;
    Ok(json)
}

/// Writes `value`, in which a token may be, into a buffer that wipes itself, and a line end.
///
/// It is written twice: first to learn the length, so that the buffer never grows and no copy is
/// left behind.
pub(super) fn to_secret_go_json_line(value: &impl Serialize) -> Result<WipedVec, NotSerializable> {
    let mut length = Length(1);
    write_go_json(&mut length, value)?;
    let mut json = WipedVec::with_capacity(length.0);
    write_go_json(&mut json, value)?;
    json.push(b'\n');
    Ok(json)
}

fn write_go_json(writer: impl Write, value: &impl Serialize) -> Result<(), NotSerializable> {
    let mut serializer = Serializer::with_formatter(writer, GoFormatter);
    value.serialize(&mut serializer).or(Err(NotSerializable))
}

struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Go escapes for HTML, and knows no short form of backspace and form feed.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // A ciphertext is long and has none of them. Without an early exit the search runs over
        // many bytes at a time.
        let bytes = fragment.bytes();
        if !bytes.fold(false, |found, byte| found | may_be_escaped_by_go(byte)) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(start) = rest.find(is_escaped_by_go) {
            let (plain, special) = rest.split_at(start);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

/// 0xe2 begins U+2028 and U+2029, among others.
const fn may_be_escaped_by_go(byte: u8) -> bool {
    matches!(byte, b'<' | b'>' | b'&' | 0xe2)
}

const fn is_escaped_by_go(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        String::from_utf8(to_go_json(&text).unwrap()).unwrap()
    }

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        assert_eq!(json("a<b>&c"), r#""a\u003cb\u003e\u0026c""#);
        assert_eq!(json("\u{2028}\u{2029}é😀"), r#""\u2028\u2029é😀""#);
        assert_eq!(
            json("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}"),
            "\"\\\"\\\\/\\u0008\\u000c\\n\\r\\t\\u0001\u{7f}\""
        );
    }

    #[test]
    fn a_secrets_buffer_has_exactly_the_length_that_is_written() {
        let json = to_secret_go_json_line(&"<\u{1}secret>").unwrap();
        assert_eq!(&json[..], b"\"\\u003c\\u0001secret\\u003e\"\n");
        assert_eq!(json.capacity(), json.len());
    }
}
