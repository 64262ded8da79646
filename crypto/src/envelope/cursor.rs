//! Reading by expectation: what is not spelled as we spell it is no envelope, so there is no second
//! reading of one to disagree with.

use std::borrow::Cow;

/// Reads text that has one spelling by expecting it, letter by letter.
pub(super) struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// What is still to be read.
    pub(super) const fn rest(&self) -> &'a str {
        self.0
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// What of `from` has been read.
    pub(super) fn behind(&self, from: &'a str) -> Option<&'a str> {
        from.get(..from.len().checked_sub(self.0.len())?)
    }

    pub(super) fn literal(&mut self, expected: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// `start` and then a string without escapes up to its closing quote.
    pub(super) fn value(&mut self, start: &str) -> Option<&'a str> {
        self.literal(start)?;
        let (value, rest) = self.0.split_once('"')?;
        self.0 = rest;
        Some(value)
    }

    /// `start` and then a JSON string, in the one spelling that serde_json gives it.
    pub(super) fn json_string(&mut self, start: &str) -> Option<Cow<'a, str>> {
        self.literal(start)?;
        let from = self.0;
        let text = self.value("\"")?;
        if is_plain(text) {
            return Some(Cow::Borrowed(text));
        }
        let mut strings = serde_json::Deserializer::from_str(from).into_iter::<String>();
        let text = strings.next()?.ok()?;
        let (spelling, rest) = from.split_at_checked(strings.byte_offset())?;
        self.0 = rest;
        (serde_json::to_string(&text).ok()? == spelling).then_some(Cow::Owned(text))
    }

    /// `start` and then a number without sign or leading zero.
    pub(super) fn number(&mut self, start: &str) -> Option<u64> {
        self.literal(start)?;
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        let has_leading_zero = digits.starts_with('0') && digits != "0";
        digits.parse().ok().filter(|_| !has_leading_zero)
    }
}

/// Whether JSON writes the text as it is.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| byte == b'\\' || byte < b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (text, number) in [("0", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(Cursor::new(text).number(""), Some(number));
        }
        for bad in ["", "00", "01", "+1", "-1", "1e1x", "18446744073709551616"] {
            let mut cursor = Cursor::new(bad);
            let read = cursor.number("").filter(|_| cursor.is_at_end());
            assert_eq!(read, None, "{bad}");
        }
    }

    #[test]
    fn an_escape_is_read_wherever_it_stands() {
        for text in ["\"", "\"a", "a\\", "\\", "\\\\", "\u{1}", " ", "a b"] {
            let json = serde_json::to_string(text).unwrap();
            let mut cursor = Cursor::new(&json);
            assert_eq!(cursor.json_string("").as_deref(), Some(text), "{json}");
            assert!(cursor.is_at_end(), "{json}");
        }
    }

    #[test]
    fn strings_have_one_spelling() {
        for bad in [r#""\u0061""#, r#""\/""#, "\"\n\"", r#""a"#, "a", r#""\ud800""#] {
            assert_eq!(Cursor::new(bad).json_string(""), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_serde_json_writes_it(text: String, rest in "[a-z\"]{0,3}") {
            let json = serde_json::to_string(&text).unwrap() + &rest;
            let mut cursor = Cursor::new(&json);
            let read = cursor.json_string("");
            prop_assert_eq!(read.as_deref(), Some(text.as_str()));
            prop_assert_eq!(cursor.rest(), rest);
        }

        #[test]
        fn what_is_read_is_what_serde_json_reads(json in r#""[a-z\\"/u0é]{0,6}"#) {
            let mut cursor = Cursor::new(&json);
            if let Some(text) = cursor.json_string("") {
                let read = cursor.behind(&json).unwrap();
                prop_assert_eq!(serde_json::to_string(&text).unwrap(), read);
            }
        }
    }
}
