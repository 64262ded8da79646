//! A private key in the hands of several people, of whom some are enough.

use std::path::{Path, PathBuf};

use selkie_crypto::{EcCurve, EcPrivateKey, KekId};

use super::BreakGlassError;
use super::key_file::Unlocked;

const TITLE: &str = "selkie break-glass share ";

/// What stands before a share in its file; it is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Title {
    /// From 1.
    pub(super) index: u8,
    pub(super) needed: u8,
    pub(super) curve: EcCurve,
    /// The whole key's id.
    pub(super) kek: KekId,
}

/// An unlocked share.
#[derive(Debug)]
pub(super) struct Share {
    title: Title,
    key: EcPrivateKey,
}

impl Title {
    /// `selkie break-glass share 2, needed 3, P-256, sha256:…`
    pub(super) fn line(&self) -> String {
        let Self { index, needed, curve, kek } = self;
        format!("{TITLE}{index}, needed {needed}, {}, {kek}\n", curve.jose_name())
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.strip_prefix(TITLE)?.split(", ").collect();
        let [index, needed, curve, kek] = words[..] else { return None };
        let curves = [EcCurve::P256, EcCurve::X25519];
        Some(Self {
            index: index.parse().ok().filter(|index| *index > 0)?,
            needed: needed.strip_prefix("needed ")?.parse().ok()?,
            curve: curves.into_iter().find(|one| one.jose_name() == curve)?,
            kek: KekId::new(kek).ok()?,
        })
    }
}

impl Share {
    /// The first line of a share's file, and what is under a passphrase behind it.
    pub(super) fn split_title(text: &str) -> (Option<&str>, &str) {
        match text.trim_start().split_once('\n') {
            Some((title, rest)) if title.starts_with(TITLE) => (Some(title), rest),
            _ => (None, text),
        }
    }

    pub(super) fn new(
        title: &str,
        key: EcPrivateKey,
        path: &Path,
    ) -> Result<Self, BreakGlassError> {
        let malformed = || BreakGlassError::NotAShare { path: PathBuf::from(path) };
        Ok(Self { title: Title::parse(title.trim_end()).ok_or_else(malformed)?, key })
    }

    /// The whole key, if these are enough of its shares.
    pub(super) fn combine(shares: &[Self]) -> Result<EcPrivateKey, BreakGlassError> {
        let first = &shares.first().ok_or(BreakGlassError::NoKey)?.title;
        let mut own: Vec<(u8, &EcPrivateKey)> = Vec::new();
        for Self { title, key } in shares {
            let is_of_first = title.kek == first.kek && title.needed == first.needed;
            if !is_of_first || title.curve != first.curve {
                return Err(BreakGlassError::OtherShare);
            }
            if !own.iter().any(|(index, _)| *index == title.index) {
                own.push((title.index, key));
            }
        }
        let (have, needed) = (own.len(), first.needed);
        let enough = own.get(..usize::from(needed));
        let enough = enough.ok_or(BreakGlassError::TooFewShares { have, needed })?;
        let combined = EcPrivateKey::combine(first.curve, enough);
        let combined = combined.map_err(|_none| BreakGlassError::WrongShare)?;
        let checked = Unlocked::new(combined)?;
        if checked.kek == first.kek {
            Ok(checked.private_key)
        } else {
            Err(BreakGlassError::WrongShare)
        }
    }
}
