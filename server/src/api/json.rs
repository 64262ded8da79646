use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use zeroize::Zeroizing;

/// A type of ours whose map has keys that are no text; a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotSerializable;

/// Writes `value` as Go's `encoding/json` does, into a buffer that wipes itself.
///
/// It is written twice: first to learn the length, so that the buffer never grows and no copy of a
/// token in it is left behind. Room for `extra` bytes is reserved as well.
pub(super) fn to_go_json(
    value: &impl Serialize,
    extra: usize,
) -> Result<Zeroizing<Vec<u8>>, NotSerializable> {
    let mut length = Length(extra);
    write_go_json(&mut length, value)?;
    let mut json = Zeroizing::new(Vec::with_capacity(length.0));
    write_go_json(&mut *json, value)?;
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

const fn is_escaped_by_go(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        String::from_utf8(to_go_json(&text, 0).unwrap().to_vec()).unwrap()
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
    fn the_buffer_has_exactly_the_length_that_is_written() {
        let json = to_go_json(&"<\u{1}secret>", 3).unwrap();
        assert_eq!(json.capacity(), json.len() + 3);
    }
}
