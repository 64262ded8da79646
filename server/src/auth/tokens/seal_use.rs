//! Which tokens seals work with, and which of those are about to run out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Token, Tokens};
use crate::oldest::take_oldest;

/// How many tokens are remembered to be in use: at least those that were used last, and at most twice as
/// many, so that the look for the oldest is as rare as they are many.
const TOKENS: usize = 1024;
/// How long a token counts as used.
const USED_SECONDS: u64 = 30 * 86_400;

/// From which lifetime on a token is not one of a job, which ends with it.
const LONG_SECONDS: u64 = 86_400;

/// The tokens that keys were used with, as this process has seen it.
#[derive(Debug, Default)]
pub(super) struct SealUses(Mutex<HashMap<Box<str>, Use>>);

#[derive(Clone, Copy, Debug)]
struct Use {
    /// In seconds since 1970.
    at: u64,
    /// The end that was warned of.
    warned_of: Option<u64>,
}

/// A token that a seal uses, and how long it lives still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInUse {
    /// Its accessor.
    pub accessor: String,
    /// Its display name.
    pub display_name: String,
    /// How long it still lives, in seconds.
    pub seconds_left: u64,
    /// How long it lived at first, in seconds.
    pub ttl: u64,
    /// When it was used last, in seconds since 1970.
    pub used: u64,
    /// When it was renewed last, in seconds since 1970.
    pub renewed: Option<u64>,
    /// Whether it has a period, as those that are made for seals have.
    pub is_periodic: bool,
}

impl TokenInUse {
    /// Whether less than a quarter of its lifetime is left: a client that renews does so long
    /// before. One that nobody means to renew, as of a job's login, ends as it should; one that was
    /// made for a day or more and is not renewed strands whoever still has it.
    #[must_use]
    pub const fn is_expiring(&self) -> bool {
        let is_to_last = self.is_periodic || self.renewed.is_some() || self.ttl >= LONG_SECONDS;
        is_to_last && self.seconds_left < self.ttl / 4
    }
}

impl Tokens {
    /// Takes note that a key was used with this token.
    pub(crate) fn note_key_use(&self, token: &Token) {
        let at = self.clock.wall();
        let mut uses = self.uses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = uses.get_mut(token.accessor.as_str()) {
            one.at = at;
            return;
        }
        if token.accessor.is_empty() {
            return;
        }
        if uses.len() >= 2 * TOKENS {
            take_oldest(&mut uses, TOKENS, |one| one.at);
        }
        uses.insert(token.accessor.as_str().into(), Use { at, warned_of: None });
    }

    /// The tokens that a seal has used, and how long they live still; soonest first.
    #[must_use]
    pub fn in_use(&self) -> Vec<TokenInUse> {
        let uses: Vec<_> = {
            let mut uses = self.uses.0.lock().unwrap_or_else(PoisonError::into_inner);
            let since = self.clock.wall().saturating_sub(USED_SECONDS);
            uses.retain(|_, one| one.at >= since);
            uses.iter().map(|(accessor, one)| (accessor.clone(), one.at)).collect()
        };
        let told = uses.into_iter().filter_map(|(accessor, used)| {
            let token = self.by_accessor(&accessor)?;
            let seconds_left = self.remaining(&token)?.as_secs();
            Some(TokenInUse {
                accessor: accessor.into(),
                display_name: token.made.display_name.clone(),
                seconds_left,
                ttl: token.made.ttl.map_or(0, |ttl| ttl.as_secs()),
                used,
                renewed: token.renewed,
                is_periodic: token.made.period.is_some(),
            })
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|one| one.seconds_left);
        told
    }

    /// Those of them that are about to run out.
    #[must_use]
    pub fn expiring(&self) -> Vec<TokenInUse> {
        let mut all = self.in_use();
        all.retain(TokenInUse::is_expiring);
        all
    }

    /// One line for each token that is about to strand a seal.
    pub(super) fn tell_of_expiring(&self) {
        for one in self.expiring() {
            let end = self.by_accessor(&one.accessor).and_then(|token| token.expires);
            let is_new = {
                let mut uses = self.uses.0.lock().unwrap_or_else(PoisonError::into_inner);
                let known = uses.get_mut(one.accessor.as_str());
                known.is_some_and(|known| std::mem::replace(&mut known.warned_of, end) != end)
            };
            if is_new {
                tracing::warn!(
                    accessor = one.accessor,
                    client = one.display_name,
                    seconds_left = one.seconds_left,
                    advice = "see why its client does not renew it, or give it another token",
                    "a token that a seal uses runs out soon"
                );
            }
        }
    }

    fn by_accessor(&self, accessor: &str) -> Option<Arc<Token>> {
        let id = self.mirror.find(|index| index.by_accessor(accessor))?;
        Some(self.mirror.get(&id).ok()??.value)
    }
}
