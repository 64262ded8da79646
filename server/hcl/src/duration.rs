//! Durations as Go writes them, as far as Vault's operators use them.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field:?}: expected a duration such as \"24h\", \"90s\" or \"1h30m\"")]
pub struct DurationError {
    field: &'static str,
}

/// One or more whole numbers, each with its unit (`d`, `h`, `m`, `s`, `ms`), added up.
///
/// # Errors
///
/// [`DurationError`].
pub fn parse_duration(field: &'static str, text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    loop {
        let (part, after) = leading_part(rest).ok_or(DurationError { field })?;
        total = total.checked_add(part).ok_or(DurationError { field })?;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

fn leading_part(text: &str) -> Option<(Duration, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let number: u64 = number.parse().ok()?;
    let part = match unit {
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        "h" => Duration::from_secs(number.checked_mul(3_600)?),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "s" => Duration::from_secs(number),
        "ms" => Duration::from_millis(number),
        _ => return None,
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<f64> {
        parse_duration("ttl", text).ok().map(|duration| duration.as_secs_f64())
    }

    #[test]
    fn durations_add_up_their_parts() {
        assert_eq!(seconds("24h"), Some(86_400.0));
        assert_eq!(seconds("90s"), Some(90.0));
        assert_eq!(seconds("1h30m"), Some(5_400.0));
        assert_eq!(seconds("1d2ms"), Some(86_400.002));
        assert_eq!(seconds("0s"), Some(0.0));
    }

    #[test]
    fn what_go_would_misread_is_refused() {
        for text in ["", "5", "h", "1 h", "-1h", "1.5h", "1w", "1h ", "1hh", "+1s", "1µs", "٣s"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn overflow_is_refused() {
        assert_eq!(seconds("18446744073709551615h"), None);
        assert_eq!(seconds("18446744073709551615s1s"), None);
        assert_eq!(seconds("99999999999999999999s"), None);
    }
}
