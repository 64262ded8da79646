//! What types of fields make of a text: numbers, times and truth values.

use selkie_hcl::{parse_int, parse_seconds};

/// Longer texts are not read: to read them takes time, and nobody writes a number so.
const MOST_BYTES: usize = 128;

/// A text, or the digits of a number, in a policy; read once, since each request is compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(super) text: Box<str>,
    pub(super) reading: Reading,
}

/// What a text is to each type of a field; `None` where it is nothing to that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    whole: Option<i128>,
    /// The bits of a finite number: they are the same if, and only if, the total order says so.
    finite: Option<u64>,
    int: Option<i64>,
    seconds: Option<i64>,
    truth: Option<bool>,
    /// Too long to be read, and begins as a number or a time does.
    is_unread: bool,
}

impl<T: Into<Box<str>>> From<T> for Text {
    fn from(text: T) -> Self {
        let text = text.into();
        // What is empty is no number, though fields take it for 0.
        let reading = match text.trim() {
            "" => Reading::default(),
            some => Reading::of(some),
        };
        Self { text, reading }
    }
}

impl Reading {
    pub(super) fn of(text: &str) -> Self {
        if text.len() > MOST_BYTES {
            return Self { is_unread: begins_as_number(text), ..Self::default() };
        }
        let finite = text.parse::<f64>().ok().filter(|number| number.is_finite());
        Self {
            whole: text.parse().ok(),
            finite: finite.map(f64::to_bits),
            int: parse_int(text).ok(),
            seconds: parse_seconds(text).ok(),
            truth: truth(text),
            is_unread: false,
        }
    }

    /// Whether it is something to no type.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether some type has one value for both. Who knows that of a text that was not read?
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let alike = |one: Option<i64>, other| one.is_some() && one == other;
        if self.is_unread || other.is_unread {
            return !self.is_none() && !other.is_none();
        }
        self.is_same_number(other)
            || alike(self.int, other.int)
            || alike(self.seconds, other.seconds)
            || self.truth.is_some() && self.truth == other.truth
    }

    pub(super) fn is_same_number(&self, other: &Self) -> bool {
        match (self.whole, other.whole) {
            (Some(one), Some(other)) => one == other,
            _ => self.finite.is_some() && self.finite == other.finite,
        }
    }

    pub(super) const fn truth(&self) -> Option<bool> {
        self.truth
    }
}

/// Whether the beginning of a long text could be that of a number or of a time.
fn begins_as_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = |rest: &[u8], is_part: fn(&u8) -> bool| rest.iter().take(MOST_BYTES).all(is_part);
    match text.as_bytes() {
        [b'0', b'x' | b'X', rest @ ..] => fits(rest, u8::is_ascii_hexdigit),
        [b'0', b'b' | b'B' | b'o' | b'O', rest @ ..] => fits(rest, u8::is_ascii_digit),
        // Units, of which `µs` is not ASCII, and exponents.
        all @ [b'0'..=b'9' | b'.', ..] => fits(all, |byte| {
            byte.is_ascii_digit() || !byte.is_ascii() || b".+-eEnumshd".contains(byte)
        }),
        _ => false,
    }
}

/// As fields of truth values read it.
fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match text {
        _ if is_one_of(&["1", "t", "true"]) => Some(true),
        _ if is_one_of(&["", "0", "f", "false"]) => Some(false),
        _ => None,
    }
}
