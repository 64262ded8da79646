//! A wrapped response as it is kept: without the token, which is nowhere, it opens for nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{TokenHash, TokenText};
use selkie_crypto::StateKey;
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::shares::Shares;
use crate::clock::Clock;
use crate::state::records::{Index, Kept, TooLarge, to_json};

/// The keyed hash of a wrapping token, under which its response is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WrapId([u8; 32]);

impl WrapId {
    /// Under which name the response for this token is kept.
    pub(super) fn of(key: &StateKey, token: &TokenText) -> Self {
        Self(key.token_hash(token.expose_for_hash()))
    }
}

impl fmt::Debug for WrapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrapId({})", TokenHash::new(self.0))
    }
}

/// A wrapped response, which nobody can read without the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Names the wrapping token without being one.
    pub accessor: String,
    /// When, in seconds since 1970.
    pub created: u64,
    /// For how many seconds.
    pub ttl: u64,
    /// The path that was asked for.
    pub path: String,
    /// The accessor of the token in it, if one is.
    pub wrapped_accessor: Option<String>,
    /// Whose share it uses; empty where nobody knows any more.
    pub owner: String,
    /// Sealed under the wrapping token.
    pub(super) sealed: Vec<u8>,
}

impl Wrapped {
    /// When its time is over, in seconds since 1970.
    #[must_use]
    pub const fn ends(&self) -> u64 {
        self.created.saturating_add(self.ttl)
    }

    /// As long as the response at least, in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.sealed.len()
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What stands before the sealed response, with a line end between.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    accessor: String,
    created: u64,
    ttl: u64,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped_accessor: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    owner: String,
}

const FORMAT: u32 = 1;

impl Kept for Wrapped {
    const ROOT: &'static str = "wrap";
    type Name = WrapId;
    type Index = Ends;

    fn place(name: &WrapId) -> String {
        TokenHash::new(name.0).to_string()
    }

    fn name(place: &str) -> Option<WrapId> {
        let hash: TokenHash = place.parse().ok()?;
        (hash.to_string() == place).then_some(WrapId(*hash.as_bytes()))
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        let head = Head {
            format: FORMAT,
            accessor: self.accessor.clone(),
            created: self.created,
            ttl: self.ttl,
            path: self.path.clone(),
            wrapped_accessor: self.wrapped_accessor.clone(),
            owner: self.owner.clone(),
        };
        let mut bytes = to_json(&head)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.sealed);
        RecordValue::new(bytes).map_err(|_large| TooLarge)
    }

    fn decode(_: &WrapId, value: &RecordValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, sealed) = (bytes.get(..end)?, bytes.get(end..)?.get(1..)?);
        let head: Head = serde_json::from_slice(head).ok()?;
        let Head { format, accessor, created, ttl, path, wrapped_accessor, owner } = head;
        let sealed = sealed.to_vec();
        let wrapped = Self { accessor, created, ttl, path, wrapped_accessor, owner, sealed };
        (format == FORMAT).then_some(wrapped)
    }
}

/// When the time of each is over, and whose they are.
#[derive(Debug, Default)]
pub struct Ends {
    /// By wall time; and by when so much time has gone by in this process that each has ended unless
    /// the wall clock has leapt.
    ends: BTreeMap<(u64, WrapId), Option<Instant>>,
    shares: Shares,
    /// Without one each is held for as long as it is kept, from when this process first heard of it.
    clock: Option<Arc<dyn Clock>>,
}

/// How long an end is waited for beyond what the wall clock says as a process first hears of it: that
/// long a clock may be set right after a machine has started.
const MARGIN: Duration = Duration::from_secs(3600);

impl Ends {
    /// None yet, by the wall clock `clock`.
    pub(super) fn by(clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// When so much time has gone by here that `wrapped`, of which was heard now, has ended. However
    /// often processes end before it does, they count on.
    fn over(&self, wrapped: &Wrapped) -> Option<Instant> {
        let whole = Duration::from_secs(wrapped.ttl);
        let left = self.clock.as_ref().map_or(whole, |clock| {
            let left = wrapped.ends().saturating_sub(clock.unix_seconds());
            Duration::from_secs(left).saturating_add(MARGIN).min(whole)
        });
        Instant::now().checked_add(left)
    }

    pub(super) const fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Up to `most` whose time is over `now`, and not by a wall clock alone, which may have leapt: by
    /// the token clock, where that has begun, or because so much time has gone by here.
    pub(super) fn before(&self, now: u64, token_time: Option<u64>, most: usize) -> Vec<WrapId> {
        let seen = Instant::now();
        let over = self.ends.iter().take_while(|((ends, _), _)| *ends <= now);
        let sure = over.filter(|((ends, _), at)| {
            token_time.is_some_and(|now| *ends <= now) || at.is_some_and(|at| at <= seen)
        });
        sure.take(most).map(|((_, id), _)| *id).collect()
    }
}

impl Index<Wrapped> for Ends {
    fn note(&mut self, name: &WrapId, old: Option<&Wrapped>, new: Option<&Wrapped>) {
        let mut known = None;
        if let Some(old) = old {
            known = self.ends.remove(&(old.ends(), *name));
            self.shares.remove(&old.owner, old.sealed.len());
        }
        if let Some(new) = new {
            let over = known.unwrap_or_else(|| self.over(new));
            self.ends.insert((new.ends(), *name), over);
            self.shares.add(&new.owner, new.sealed.len());
        }
    }
}
