//! What one server ought to be: a few maps, and Vault's rules in the plainest form.

use std::collections::{BTreeMap, BTreeSet};

/// A token of the history; 0 is the root client's.
pub(crate) type TokenNumber = usize;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) keys: BTreeMap<&'static str, Key>,
    /// Which keys each policy lets its tokens use.
    pub(crate) policies: BTreeMap<&'static str, BTreeSet<&'static str>>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) blobs: Vec<(&'static str, u32)>,
    pub(crate) is_up: [bool; 2],
    /// In seconds.
    pub(crate) now: u64,
    /// For the control: it does not know that revoked tokens are gone.
    pub(crate) forgets_revocations: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) latest: u32,
    pub(crate) min_decryption: u32,
    /// 0: none of its own; so is the next.
    pub(crate) min_encryption: u32,
    pub(crate) min_available: u32,
    pub(crate) deletion_allowed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) policy: Option<&'static str>,
    pub(crate) parent: Option<TokenNumber>,
    pub(crate) ends: Option<u64>,
    pub(crate) uses_left: Option<u32>,
    pub(crate) is_gone: bool,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Done,
    /// Done, with this version in the answer.
    Version(u32),
    Status(u16),
}

impl Model {
    pub(crate) fn new() -> Self {
        let root =
            Token { policy: None, parent: None, ends: None, uses_left: None, is_gone: false };
        Self { tokens: vec![root], is_up: [true; 2], ..Self::default() }
    }

    pub(crate) fn is_alive(&self, number: TokenNumber) -> bool {
        let token = &self.tokens[number];
        let is_over = token.ends.is_some_and(|end| end <= self.now);
        !token.is_gone && !is_over && token.parent.is_none_or(|parent| self.is_alive(parent))
    }

    /// Lets the token in and counts its use; whether it was let in.
    pub(crate) fn admit(&mut self, number: TokenNumber) -> bool {
        let is_alive = self.is_alive(number);
        if let (true, Some(left)) = (is_alive, &mut self.tokens[number].uses_left) {
            *left -= 1;
            self.tokens[number].is_gone = *left == 0;
        }
        is_alive
    }

    fn may_use(&self, number: TokenNumber, key: &str) -> bool {
        match self.tokens[number].policy {
            None => number == 0,
            Some(policy) => self.policies.get(policy).is_some_and(|keys| keys.contains(key)),
        }
    }

    pub(crate) fn encrypt(&mut self, by: TokenNumber, key: &'static str, version: u32) -> Expected {
        if !self.admit(by) || !self.may_use(by, key) {
            return Expected::Status(403);
        }
        if !self.keys.contains_key(key) && by != 0 {
            // To make it takes another capability.
            return Expected::Status(403);
        }
        let found = self.keys.entry(key).or_insert_with(Key::new);
        let oldest = found.min_encryption.max(found.min_decryption);
        let version = if version == 0 { found.latest } else { version };
        if version > found.latest || version < oldest {
            return Expected::Status(400);
        }
        if self.is_up != [true; 2] {
            return Expected::Status(503);
        }
        self.blobs.push((key, version));
        Expected::Version(version)
    }

    pub(crate) fn decrypt(&mut self, by: TokenNumber, blob: usize) -> Expected {
        let (key, version) = self.blobs[blob];
        if !self.admit(by) || !self.may_use(by, key) {
            return Expected::Status(403);
        }
        match self.keys.get(key) {
            // Also one of a key of that name that was deleted, of a later version than this one is at:
            // the envelope carries what opens it (I1).
            Some(found) if version >= found.min_decryption => {
                if self.is_up == [false; 2] {
                    Expected::Status(503)
                } else {
                    Expected::Done
                }
            }
            _ => Expected::Status(400),
        }
    }

    pub(crate) fn rewrap(&mut self, by: TokenNumber, blob: usize) -> Expected {
        let key = self.blobs[blob].0;
        match self.decrypt(by, blob) {
            Expected::Done if self.is_up != [true; 2] => Expected::Status(503),
            Expected::Done => {
                let latest = self.keys[key].latest;
                self.blobs.push((key, latest));
                Expected::Version(latest)
            }
            refused => refused,
        }
    }

    pub(crate) fn configure(&mut self, key: &str, changes: Changes) -> Expected {
        let Some(found) = self.keys.get_mut(key) else { return Expected::Status(400) };
        let mut next = found.clone();
        next.min_decryption = changes.min_decryption.unwrap_or(next.min_decryption).max(1);
        next.min_encryption = changes.min_encryption.unwrap_or(next.min_encryption);
        next.deletion_allowed = changes.deletion_allowed.unwrap_or(next.deletion_allowed);
        let is_wrong = next.min_decryption > next.latest
            || next.min_encryption > next.latest
            || (next.min_encryption != 0 && next.min_encryption < next.min_decryption)
            || next.min_available > next.min_encryption
            || next.min_available > next.min_decryption;
        if is_wrong {
            return Expected::Status(400);
        }
        *found = next;
        Expected::Done
    }

    pub(crate) fn trim(&mut self, key: &str, least: u32) -> Expected {
        let Some(found) = self.keys.get_mut(key) else { return Expected::Status(400) };
        let is_wrong = least == 0
            || least < found.min_available
            || found.min_encryption == 0
            || least > found.min_encryption
            || least > found.min_decryption;
        if is_wrong {
            return Expected::Status(400);
        }
        found.min_available = least;
        Expected::Done
    }

    pub(crate) fn rotate(&mut self, key: &str) -> Expected {
        let Some(found) = self.keys.get_mut(key) else { return Expected::Status(400) };
        found.latest += 1;
        Expected::Version(found.latest)
    }

    pub(crate) fn delete(&mut self, key: &str) -> Expected {
        match self.keys.get(key) {
            Some(found) if found.deletion_allowed => {
                self.keys.remove(key);
                Expected::Done
            }
            _ => Expected::Status(400),
        }
    }

    /// A child of `by` with the policies of `by`, of which root may choose any.
    pub(crate) fn create_token(&mut self, by: TokenNumber, token: Token) -> Expected {
        let has_rules = self.tokens[by].policy.is_none_or(|one| self.policies.contains_key(one));
        let is_restricted = self.tokens[by].uses_left.is_some();
        if !self.admit(by) || !has_rules {
            return Expected::Status(403);
        }
        if is_restricted {
            return Expected::Status(400);
        }
        self.tokens.push(token);
        Expected::Done
    }

    pub(crate) fn revoke(&mut self, number: TokenNumber) {
        self.tokens[number].is_gone |= !self.forgets_revocations;
    }
}

/// What is to change of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    pub(crate) min_decryption: Option<u32>,
    pub(crate) min_encryption: Option<u32>,
    pub(crate) deletion_allowed: Option<bool>,
}

impl Key {
    pub(crate) const fn new() -> Self {
        let (min_decryption, min_encryption, min_available) = (1, 0, 0);
        Self { latest: 1, min_decryption, min_encryption, min_available, deletion_allowed: false }
    }
}
