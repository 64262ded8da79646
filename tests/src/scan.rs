//! What a process keeps in its memory (invariant I3).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, ensure};

/// Read at a time; pieces that lie across two reads are seen by their overlap.
const WINDOW: usize = 1 << 20;
const OVERLAP: usize = 64;
/// From here on fewer pieces are taken.
const LARGE: usize = 256 << 10;

/// Pieces of secrets, each long enough that chance never produces it.
#[derive(Debug, Default)]
pub struct Needles {
    pieces: Vec<Vec<u8>>,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Raw,
    Base64,
    Encoded,
    Token,
    Key,
}

/// How often pieces were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Pieces of plaintexts.
    pub raw: usize,
    /// Pieces of their base64.
    pub base64: usize,
    /// Pieces of what else plaintexts may be written as: base64url, hexadecimal, escaped in JSON.
    pub encoded: usize,
    /// Pieces of tokens.
    pub tokens: usize,
    /// Pieces of keys (DEKs, KEKs, PINs), as they are or written as any of these.
    pub keys: usize,
    /// Bytes that were searched.
    pub searched: usize,
}

impl Findings {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.raw + self.base64 + self.encoded + self.tokens + self.keys == 0
    }
}

impl Needles {
    /// Adds a plaintext and its base64: a 16-byte piece of every 256 bytes and the last one, and
    /// 20-character pieces likewise, also of its base64url and its hexadecimal.
    pub fn plaintext(&mut self, raw: &[u8], base64: &str) {
        self.sample(raw, 16, Kind::Raw);
        // The last quantum may carry padding, which says nothing.
        let unpadded = base64.trim_end_matches('=');
        self.sample(unpadded.as_bytes(), 20, Kind::Base64);
        // Where base64url reads the same, it is found as base64.
        let url = unpadded.replace('+', "-").replace('/', "_");
        if url != unpadded {
            self.sample(url.as_bytes(), 20, Kind::Encoded);
        }
        for hex in hex(raw) {
            self.sample(hex.as_bytes(), 20, Kind::Encoded);
        }
    }

    /// Adds a text as JSON may write it: escaped.
    pub fn escaped(&mut self, json: &str) {
        self.sample(json.as_bytes(), 24, Kind::Encoded);
    }

    /// Adds a key, such as a DEK: raw, in base64 of either alphabet, in hexadecimal.
    pub fn key(&mut self, raw: &[u8], base64: &str) {
        let unpadded = base64.trim_end_matches('=');
        let url = unpadded.replace('+', "-").replace('/', "_");
        self.sample(raw, 16, Kind::Key);
        for text in [unpadded.to_owned(), url].into_iter().chain(hex(raw)) {
            self.sample(text.as_bytes(), 20, Kind::Key);
        }
    }

    /// How many pieces are searched for.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Adds a token.
    pub fn token(&mut self, token: &str) {
        self.sample(token.as_bytes(), 20, Kind::Token);
    }

    fn sample(&mut self, secret: &[u8], length: usize, kind: Kind) {
        let last = secret.len().saturating_sub(length);
        // What lies anywhere in one piece is larger than a page in large secrets.
        let step = if secret.len() > LARGE { 4096 } else { 256 };
        for start in (0..last).step_by(step).chain([last]) {
            let piece = secret.get(start..start + length);
            if let Some(piece) = piece {
                self.pieces.push(piece.to_owned());
                self.kinds.push(kind);
            }
        }
    }

    /// Searches everything that a core dump could hold: every readable mapping of a process.
    ///
    /// # Errors
    ///
    /// If its memory cannot be read: this needs root.
    pub fn search(&self, process: u32) -> Result<Findings> {
        ensure!(process != std::process::id(), "the needles are in this process");
        let automaton = AhoCorasick::new(&self.pieces)?;
        let memory = File::open(format!("/proc/{process}/mem")).context("needs root")?;
        let mut findings = Findings::default();
        for (start, end) in readable(process)? {
            self.search_range(&automaton, &memory, start..end, &mut findings);
        }
        Ok(findings)
    }

    fn search_range(
        &self,
        automaton: &AhoCorasick,
        memory: &File,
        range: std::ops::Range<u64>,
        findings: &mut Findings,
    ) {
        let mut buffer = vec![0; WINDOW + OVERLAP];
        for start in range.clone().step_by(WINDOW) {
            // Secret pages and guard pages cannot be read, by nobody: that is their purpose.
            let Ok(read) = memory.read_at(&mut buffer, start) else { continue };
            let end = usize::try_from(range.end - start).map_or(read, |left| read.min(left));
            let window = buffer.get(..end).unwrap_or_default();
            findings.searched += window.len().min(WINDOW);
            for found in automaton.find_overlapping_iter(window) {
                if found.start() < WINDOW {
                    findings.add(self.kinds.get(found.pattern().as_usize()));
                }
            }
        }
    }
}

impl Findings {
    fn add(&mut self, kind: Option<&Kind>) {
        match kind {
            Some(Kind::Raw) => self.raw += 1,
            Some(Kind::Base64) => self.base64 += 1,
            Some(Kind::Encoded) => self.encoded += 1,
            Some(Kind::Token) => self.tokens += 1,
            Some(Kind::Key) => self.keys += 1,
            None => {}
        }
    }
}

fn readable(process: u32) -> Result<Vec<(u64, u64)>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let range = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        rest.starts_with('r').then_some(range)
    });
    let ranges: Vec<_> = ranges.collect();
    ensure!(!ranges.is_empty(), "no mappings: needs root");
    Ok(ranges)
}

/// In small letters and in capitals.
fn hex(raw: &[u8]) -> [String; 2] {
    [base16ct::lower::encode_string(raw), base16ct::upper::encode_string(raw)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(secret: &[u8]) -> Vec<Vec<u8>> {
        let mut needles = Needles::default();
        needles.sample(secret, 16, Kind::Raw);
        needles.pieces
    }

    #[test]
    fn a_short_secret_gives_its_beginning_and_its_end() {
        let secret: Vec<u8> = (0..32).collect();
        assert_eq!(pieces(&secret), [secret[..16].to_owned(), secret[16..].to_owned()]);
    }

    #[test]
    fn a_secret_of_one_piece_gives_it_once() {
        let secret: Vec<u8> = (0..16).collect();
        assert_eq!(pieces(&secret), [secret]);
    }

    #[test]
    fn a_long_secret_gives_pieces_all_along() {
        let secret: Vec<u8> = (0..=255).cycle().take(65_536).collect();
        assert_eq!(pieces(&secret).len(), 257);
    }

    #[test]
    fn a_key_is_found_however_it_is_written() -> Result<()> {
        let key = [0xfb; 32];
        let mut needles = Needles::default();
        needles.key(&key, "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=");
        let automaton = AhoCorasick::new(&needles.pieces)?;
        for text in ["fb".repeat(10), "FB".repeat(10), "-_v7".repeat(6), "+/v7".repeat(6)] {
            assert!(automaton.is_match(&text), "{text}");
        }
        assert!(automaton.is_match(&key[..]));
        Ok(())
    }

    #[test]
    fn what_a_process_holds_is_found_in_it_and_nothing_else() -> Result<()> {
        let (held, other) = (crate::site::token()?, crate::site::token()?);
        let mut command = std::process::Command::new("sleep");
        command.arg("60").env("HELD", &held);
        let process = crate::process::Process::start(command)?;
        let find = |token: &str| {
            let mut needles = Needles::default();
            needles.token(token);
            needles.search(process.id())
        };
        assert!(find(&held)?.tokens > 0);
        assert!(find(&other)?.is_clean());
        Ok(())
    }
}
