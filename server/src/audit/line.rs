//! The lines that a device writes about itself; those about requests are in [`record`](super::record).

use super::chain::{End, hex};
use super::json::{Object, push_text};

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
    object.text("mac", &hex(&end.mac));
    object.end();
}

/// RFC 3339 with nanoseconds, as Vault's lines have it.
pub(super) fn push_time(unix_nanos: u128, out: &mut Vec<u8>) {
    let nanos = i128::try_from(unix_nanos).unwrap_or(i128::MAX);
    let time = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
    push_text(&format!("{time:.9}"), out);
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
}
