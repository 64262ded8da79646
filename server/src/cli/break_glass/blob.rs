//! The ciphertexts that are given to the commands, and the envelopes in them.

use std::fmt;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use selkie_crypto::envelope::{Aad, Purpose, Recipient};
use selkie_crypto::{Ciphertext, DecryptError, Envelope, Plaintext, RecipientSecret, UnwrapFailed};

use super::BreakGlassError;
use super::key_file::Unlocked;
use crate::cli::CommandError;
use crate::cli::terminal::printable;

/// The most that is read: all of a Vault's seal-wrapped records have room.
const MOST_BYTES: u64 = 64 << 20;

/// An envelope, under the name that `selkie extract` gave it.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) name: String,
    pub(super) envelope: Envelope,
}

/// What `given` is: a ciphertext, `-` for the standard input, or a file.
pub(super) fn read(given: &str) -> Result<Vec<Blob>, CommandError> {
    if given.starts_with("vault:") {
        return Ok(vec![Blob::parse("ciphertext", given)?]);
    }
    let mut text = String::new();
    let failed = |source| CommandError::File { path: given.into(), source };
    if given == "-" {
        std::io::stdin().take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(Path::new(given)).map_err(failed)?;
        file.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let blobs = lines.map(Blob::of_line).collect::<Result<Vec<_>, _>>()?;
    if blobs.is_empty() { Err(BreakGlassError::NoBlob.into()) } else { Ok(blobs) }
}

/// The blob of this name, or the only one.
pub(super) fn choose(mut blobs: Vec<Blob>, record: Option<&str>) -> Result<Blob, BreakGlassError> {
    if let Some(name) = record {
        let found = blobs.into_iter().find(|blob| blob.name == name);
        return found.ok_or_else(|| BreakGlassError::NoSuchRecord { name: name.to_owned() });
    }
    match blobs.pop() {
        None => Err(BreakGlassError::NoBlob),
        Some(only) if blobs.is_empty() => Ok(only),
        Some(last) => {
            let names = blobs.into_iter().chain([last]).map(|blob| blob.name).collect();
            Err(BreakGlassError::SeveralBlobs { names })
        }
    }
}

impl Blob {
    /// A line of `selkie extract`, or a ciphertext alone, or an envelope alone.
    fn of_line(line: &str) -> Result<Self, BreakGlassError> {
        if line.starts_with('{') {
            return Self::of_json("envelope", line.as_bytes());
        }
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words[..] {
            [ciphertext] => Self::parse("ciphertext", ciphertext),
            [name, _key_id, ciphertext] => Self::parse(name, ciphertext),
            _ => Err(BreakGlassError::NoBlob),
        }
    }

    fn parse(name: &str, ciphertext: &str) -> Result<Self, BreakGlassError> {
        let record = || printable(name);
        let failed = |source| BreakGlassError::Ciphertext { record: record(), source };
        let outer = Ciphertext::parse(ciphertext).map_err(failed)?;
        let outside = outer.version();
        let blob = Self::of_json(name, &outer.into_envelope_bytes().map_err(failed)?)?;
        let inside = blob.envelope.header().version.get();
        if i64::from(inside) != outside {
            return Err(BreakGlassError::Version { record: record(), outside, inside });
        }
        Ok(blob)
    }

    pub(super) fn of_json(name: &str, json: &[u8]) -> Result<Self, BreakGlassError> {
        let name = printable(name);
        match Envelope::inspect(json) {
            Ok(envelope) => Ok(Self { name, envelope }),
            Err(_malformed) => Err(BreakGlassError::NotAnEnvelope { record: name }),
        }
    }

    /// Whether it was made for this key.
    pub(super) fn is_for(&self, key: &Unlocked) -> bool {
        self.envelope.recipients().iter().any(|recipient| recipient.kek == key.kek)
    }

    /// What was wrapped for this key.
    pub(super) fn unwrap(
        &self,
        key: &Unlocked,
    ) -> Result<(&Recipient, RecipientSecret), BreakGlassError> {
        let is_own = |recipient: &&Recipient| recipient.kek == key.kek;
        let recipient = self.envelope.recipients().iter().find(is_own).ok_or_else(|| {
            let named = |one: &Recipient| format!("{} ({})", one.seal, one.kek);
            BreakGlassError::NotForThisKey {
                record: self.name.clone(),
                key: key.kek.clone(),
                recipients: self.envelope.recipients().iter().map(named).collect(),
            }
        })?;
        let unwrapped = key.private_key.unwrap_dek(&recipient.wrapped_dek);
        let changed = |UnwrapFailed| BreakGlassError::Unwrap { record: self.name.clone() };
        Ok((recipient, unwrapped.map_err(changed)?))
    }

    /// The plaintext, by one of these keys, or by several of them where the envelope needs that.
    pub(super) fn open(
        &self,
        keys: &[Unlocked],
        aad: Aad<'_>,
    ) -> Result<Plaintext, BreakGlassError> {
        let failed =
            |source: DecryptError| BreakGlassError::Decrypt { record: self.name.clone(), source };
        let unwrapped = || keys.iter().map(|key| self.unwrap(key));
        let dek = if self.envelope.needed() <= 1 {
            let opened = unwrapped().find(Result::is_ok).or_else(|| unwrapped().next());
            opened.ok_or(BreakGlassError::NoKey)??.1
        } else {
            let shares = unwrapped().map(|share| {
                let (recipient, secret) = share?;
                self.envelope.verify_share(recipient, &secret).map_err(failed)
            });
            let shares = shares.collect::<Result<Vec<_>, _>>()?;
            self.require(shares.len())?;
            self.envelope.combine(&shares).map_err(failed)?
        };
        self.envelope.decrypt(&dek, aad).map_err(failed)
    }

    /// Refuses to go on with fewer keys than the envelope needs.
    fn require(&self, have: usize) -> Result<(), BreakGlassError> {
        let needed = self.envelope.needed();
        if have >= usize::from(needed) {
            return Ok(());
        }
        Err(BreakGlassError::NeedsMore { record: self.name.clone(), needed, have })
    }
}

/// What an envelope is about, for a person.
impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.envelope.header();
        let created = i64::try_from(header.created).ok();
        let created = created.and_then(|second| Timestamp::from_second(second).ok());
        let purpose = match header.purpose {
            Purpose::Client => "a client's ciphertext",
            Purpose::State => "Selkie's state key",
            Purpose::Backup => "the key of a backup",
        };
        writeln!(f, "{}: {purpose}", self.name)?;
        writeln!(f, "  realm    {}", printable(&header.realm))?;
        writeln!(f, "  mount    {}", printable(&header.mount))?;
        writeln!(f, "  key      {}, version {}", printable(&header.key), header.version)?;
        match created {
            Some(time) => writeln!(f, "  made     {time}")?,
            None => writeln!(f, "  made     at no time that there is")?,
        }
        if self.envelope.needed() > 1 {
            writeln!(f, "  opens by any {} of these together:", self.envelope.needed())?;
        }
        for Recipient { seal, kek, .. } in self.envelope.recipients() {
            writeln!(f, "  opens by {seal}: {kek}")?;
        }
        Ok(())
    }
}
