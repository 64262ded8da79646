//! The lines that a device writes about itself; those about requests are in [`record`](super::record).

use super::chain::End;
use super::json::{Object, ascii_digit};

/// A line of the log about the log.
#[derive(Debug)]
pub(super) enum OwnLine<'l> {
    /// The first of a run, after what another run has left in the file.
    Start { device: &'l str, before: Option<&'l End> },
    /// The first in another file or connection of the same run.
    File { end: &'l End },
    /// How far it has come.
    Checkpoint { end: &'l End, missed: u64 },
    /// The last of a run.
    Stop { end: &'l End, missed: u64 },
}

/// The value of `type` in each.
pub(super) const START: &str = "selkie_start";
pub(super) const FILE: &str = "selkie_file";
pub(super) const CHECKPOINT: &str = "selkie_checkpoint";
pub(super) const STOP: &str = "selkie_stop";

impl OwnLine<'_> {
    /// Without the last brace.
    pub(super) fn text(&self, unix_nanos: u128) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        let mut line = Object::begin(&mut out);
        push_time(unix_nanos, line.member("time"));
        match self {
            Self::Start { device, before } => {
                line.text("type", START);
                line.text("device", device);
                line.text("version", env!("CARGO_PKG_VERSION"));
                match before {
                    Some(end) => push_end("previous", end, &mut line),
                    None => line.member("previous").extend_from_slice(b"null"),
                }
            }
            Self::File { end } => {
                line.text("type", FILE);
                push_end("previous", end, &mut line);
            }
            Self::Checkpoint { end, missed } | Self::Stop { end, missed } => {
                let is_stop = matches!(self, Self::Stop { .. });
                line.text("type", if is_stop { STOP } else { CHECKPOINT });
                line.number("lines", end.sequence);
                line.number("missed", *missed);
            }
        }
        out
    }
}

fn push_end(name: &str, end: &End, line: &mut Object<'_>) {
    let mut object = line.object(name);
    object.text("chain", &end.chain);
    object.number("sequence", end.sequence);
    object.text("mac", &base16ct::lower::encode_string(&end.mac));
    object.end();
}

/// RFC 3339 with nanoseconds, as Vault's lines have it; by hand, because each line has one.
pub(super) fn push_time(unix_nanos: u128, out: &mut Vec<u8>) {
    let nanos = u64::try_from(unix_nanos).unwrap_or(u64::MAX);
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"\"0000-00-00T00:00:00.000000000Z\"";
    let parts = [
        (1..5, year),
        (6..8, month),
        (9..11, day),
        (12..14, seconds / 3600),
        (15..17, seconds / 60 % 60),
        (18..20, seconds % 60),
        (21..30, nanos),
    ];
    for (place, mut value) in parts {
        for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
            *digit = ascii_digit(value);
            value /= 10;
        }
    }
    out.extend_from_slice(&text);
}

/// Year, month and day, so many days after 1970 began, in the Gregorian calendar: years that begin
/// in March have their leap day at the end, and five months there are always 153 days.
const fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01 on.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nanoseconds() {
        let mut out = Vec::new();
        push_time(1_700_000_000_123_456_789, &mut out);
        assert_eq!(out, b"\"2023-11-14T22:13:20.123456789Z\"");
    }

    #[test]
    fn every_day_of_800_years_is_the_one_of_the_calendar() {
        let mut day = jiff::civil::date(1970, 1, 1);
        for days in 0..292_194 {
            let (year, month, number) = date(days);
            assert_eq!(format!("{year:04}-{month:02}-{number:02}"), day.to_string());
            day = day.tomorrow().unwrap();
        }
    }
}
