//! The chain that a device's lines form: each ends in a member `selkie` with the number of the line
//! and a MAC over it and over the MAC of the line before.
//!
//! ```text
//! {"time":...,"selkie":{"chain":"<UUID>","sequence":7,"mac":"<64 hex digits>"}}
//! └──────────── what the MAC covers ─────────────────┘
//! ```

use std::fmt;
use std::str::FromStr;

use base16ct::HexDisplay;
use selkie_crypto::AuditKey;
use subtle::ConstantTimeEq;

use super::json::push_number;
use crate::digest_text;

const MEMBER: &str = ",\"selkie\":{\"chain\":\"";
const SEQUENCE: &str = "\",\"sequence\":";
const MAC: &str = ",\"mac\":\"";
const CLOSE: &str = "\"}}";

/// The lines of one device in one run of the server.
#[derive(Debug)]
pub(super) struct Chain {
    end: End,
}

/// Where a chain stands: its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// A UUID of its own for each run.
    pub chain: String,
    /// The number of the line, from 1; 0 before the first.
    pub sequence: u64,
    /// Its MAC; zeroes before the first.
    pub mac: [u8; 32],
}

/// No such text as [`End`] prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not CHAIN:SEQUENCE:MAC")]
pub struct NotAnEnd;

impl Chain {
    pub(super) const fn new(id: String) -> Self {
        Self { end: End { chain: id, sequence: 0, mac: [0; 32] } }
    }

    pub(super) const fn end(&self) -> &End {
        &self.end
    }

    /// Goes back to where it stood after the line `sequence`, whose MAC was `mac`.
    pub(super) const fn rewind(&mut self, sequence: u64, mac: [u8; 32]) {
        self.end.sequence = sequence;
        self.end.mac = mac;
    }

    /// Writes `line`, a JSON object without its last brace, as the next one.
    pub(super) fn link(&mut self, key: &AuditKey, line: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let sequence = self.end.sequence.saturating_add(1);
        out.extend_from_slice(line);
        for part in [MEMBER, &self.end.chain, SEQUENCE] {
            out.extend_from_slice(part.as_bytes());
        }
        push_number(sequence, out);
        let mac = key.line_mac(&self.end.mac, out.get(start..).unwrap_or_default());
        out.extend_from_slice(MAC.as_bytes());
        push_hex(&mac, out);
        out.extend_from_slice(CLOSE.as_bytes());
        out.push(b'\n');
        self.rewind(sequence, mac);
    }
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Linked<'l> {
    pub(super) end: End,
    /// What the MAC is over, besides that of the line before.
    covered: &'l [u8],
}

impl<'l> Linked<'l> {
    /// Takes a line without its line end apart; `None` if no chain wrote it.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        let text = str::from_utf8(line).ok()?;
        let (covered, mac) = text.strip_suffix(CLOSE)?.rsplit_once(MAC)?;
        let (_, member) = covered.rsplit_once(MEMBER)?;
        let (chain, digits) = member.split_once(SEQUENCE)?;
        let sequence = digits.parse().ok()?;
        // One spelling of each number and id, so that no other line passes for this one.
        let is_canonical = u64::to_string(&sequence) == digits && is_id(chain);
        let end = End { chain: chain.to_owned(), sequence, mac: digest_text::parse(mac)? };
        is_canonical.then_some(Self { end, covered: covered.as_bytes() })
    }

    pub(super) const fn covered(&self) -> &'l [u8] {
        self.covered
    }

    /// Whether it is the line that followed the one with the MAC `previous`.
    pub(super) fn follows(&self, key: &AuditKey, previous: &[u8; 32]) -> bool {
        key.line_mac(previous, self.covered).ct_eq(&self.end.mac).into()
    }
}

/// `CHAIN:SEQUENCE:MAC`, as the server's log tells checkpoints.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:x}", self.chain, self.sequence, HexDisplay(&self.mac))
    }
}

impl FromStr for End {
    type Err = NotAnEnd;

    fn from_str(text: &str) -> Result<Self, NotAnEnd> {
        let mut parts = text.split(':');
        let (Some(chain), Some(sequence), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAnEnd);
        };
        let sequence = sequence.parse().ok().filter(|_| is_id(chain)).ok_or(NotAnEnd)?;
        Ok(Self {
            chain: chain.to_owned(),
            sequence,
            mac: digest_text::parse(mac).ok_or(NotAnEnd)?,
        })
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|b| b"0123456789abcdef-".contains(&b))
}

pub(super) fn push_hex(bytes: &[u8; 32], out: &mut Vec<u8>) {
    let mut digits = [0; 64];
    // Invariant: there is room for two digits of each byte.
    out.extend_from_slice(base16ct::lower::encode(bytes, &mut digits).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f2b1a5e-0000-4000-8000-00000000000a";

    #[test]
    fn a_line_comes_apart_as_it_was_put_together() {
        let key = AuditKey::init_with(|page| page.fill(1)).unwrap();
        let mut chain = Chain::new(ID.to_owned());
        let mut out = Vec::new();
        chain.link(&key, b"{\"a\":\",\\\"selkie\\\":{\"", &mut out);
        let first = chain.end().mac;
        chain.link(&key, b"{\"b\":1", &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> =
            text.lines().map(|line| Linked::parse(line.as_bytes()).unwrap()).collect();
        assert!(lines[0].follows(&key, &[0; 32]) && lines[1].follows(&key, &first));
        assert!(!lines[1].follows(&key, &[0; 32]));
        assert_eq!(lines[1].end, *chain.end());
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn an_end_is_read_as_it_is_printed() {
        let end = End { chain: ID.to_owned(), sequence: 9, mac: [0xa1; 32] };
        assert_eq!(end.to_string().parse(), Ok(end));
        for wrong in ["", "a:1:b", &format!("{ID}:x:{}", "00".repeat(32)), &format!("{ID}:1:00")] {
            assert_eq!(wrong.parse::<End>(), Err(NotAnEnd), "{wrong}");
        }
    }
}
