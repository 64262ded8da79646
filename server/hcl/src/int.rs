//! Whole numbers as the fields of Vault's API have them.

use std::num::IntErrorKind;

/// Why a text is no whole number, as Go's libraries tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntProblem {
    /// It has not the form of one.
    Invalid,
    /// It has no place in 64 bits.
    OutOfRange,
}

/// Go's `strconv.ParseInt` with base 0: the prefix says the base; no text at all is 0.
///
/// # Errors
///
/// [`IntProblem`].
pub fn parse_int(text: &str) -> Result<i64, IntProblem> {
    if text.is_empty() {
        return Ok(0);
    }
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match magnitude.split_at_checked(2) {
        Some(("0x" | "0X", digits)) => (digits, 16),
        Some(("0o" | "0O", digits)) => (digits, 8),
        Some(("0b" | "0B", digits)) => (digits, 2),
        Some(_) if magnitude.starts_with('0') => (magnitude, 8),
        _ => (magnitude, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return Err(IntProblem::Invalid);
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|error| match error.kind() {
        IntErrorKind::NegOverflow | IntErrorKind::PosOverflow => IntProblem::OutOfRange,
        _ => IntProblem::Invalid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_says_the_base_and_what_is_no_number_is_told_from_what_is_too_large() {
        for (text, number) in [
            ("", 0),
            ("7", 7),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b11", 3),
        ] {
            assert_eq!(parse_int(text), Ok(number), "{text}");
        }
        for text in ["x", "-", "--7", "0x", "0x+7", "08", "1.5", " 7", "7s"] {
            assert_eq!(parse_int(text), Err(IntProblem::Invalid), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_int(text), Err(IntProblem::OutOfRange), "{text}");
        }
    }
}
