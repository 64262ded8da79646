//! Quotes as Go's libraries write them, since Vault's error texts hold them.

use std::fmt::{self, Write as _};

/// Text as Go's `%q` writes it, for the error texts that quote a path or a value.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\u{7}' => f.write_str("\\a")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\u{b}' => f.write_str("\\v")?,
                '\0'..='\u{1f}' | '\u{7f}' => write!(f, "\\x{:02x}", u32::from(character))?,
                '\u{80}'..='\u{a0}' => write!(f, "\\u{:04x}", u32::from(character))?,
                printable => f.write_char(printable)?,
            }
        }
        f.write_char('"')
    }
}

/// Text as Go's `time` package quotes it: every byte that is not printable ASCII by its number.
pub(super) struct QuotedBytes<'a>(pub(super) &'a str);

impl fmt::Display for QuotedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=0x7f => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_strconv_quote_does() {
        assert_eq!(
            Quoted("a\"\\\u{7}\u{8}\u{c}\n\r\t\u{b}\0\u{1f}\u{7f}\u{85}é").to_string(),
            r#""a\"\\\a\b\f\n\r\t\v\x00\x1f\x7f\u0085é""#
        );
    }

    #[test]
    fn quotes_as_the_time_package_does() {
        assert_eq!(QuotedBytes("a\"\\\né").to_string(), r#""a\"\\\x0a\xc3\xa9""#);
    }
}
