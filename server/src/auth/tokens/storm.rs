//! Slows down clients that repeat a refused renewal at once and for ever, before that costs
//! anything.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use selkie_access::TokenText;

/// How many failures are remembered apart; two that share a place count as one.
const PLACES: usize = 1024;
/// How many renewals of one token may fail in a window before its client is told to wait.
const FAILURES: u32 = 5;
const WINDOW_SECONDS: u64 = 10;

/// Renewals that fail again and again. Vault 1.14 to 1.16 and `OpenBao` try a refused renewal again
/// at once and for ever; after a 503 they wait. So the first few are refused with their reason, and
/// then all in the same window with 503, before anything is looked up, logged or hashed slowly.
pub(crate) struct RenewalStorms {
    hasher: RandomState,
    places: Mutex<Box<[Place]>>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    who: u64,
    since: u64,
    failures: u32,
}

/// Who renews: a token from an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewer(u64);

impl Default for RenewalStorms {
    fn default() -> Self {
        let places = Mutex::new(vec![Place::default(); PLACES].into_boxed_slice());
        Self { hasher: RandomState::new(), places }
    }
}

impl RenewalStorms {
    /// Who shows `token` from `address`.
    pub(crate) fn renewer(&self, token: Option<&TokenText>, address: IpAddr) -> Renewer {
        Renewer(self.hasher.hash_one((token.map(TokenText::expose_for_hash), address)))
    }

    /// Whether the client must be told to wait.
    pub(crate) fn is_raging(&self, renewer: Renewer, second: u64) -> bool {
        self.with_place(renewer, second, |place| place.failures >= FAILURES)
    }

    /// Takes note of a renewal that was refused.
    pub(crate) fn failed(&self, renewer: Renewer, second: u64) {
        self.with_place(renewer, second, |place| {
            place.failures = place.failures.saturating_add(1);
        });
    }

    fn with_place<R>(
        &self,
        Renewer(who): Renewer,
        second: u64,
        act: impl FnOnce(&mut Place) -> R,
    ) -> R {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(places.len()).unwrap_or(1);
        let at = usize::try_from(who % count).unwrap_or(0);
        let mut elsewhere = Place::default();
        let place = places.get_mut(at).unwrap_or(&mut elsewhere);
        if place.who != who || second.abs_diff(place.since) >= WINDOW_SECONDS {
            *place = Place { who, since: second, failures: 0 };
        }
        act(place)
    }
}

impl fmt::Debug for RenewalStorms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewalStorms").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_renewal_that_fails_again_and_again_is_told_to_wait_until_the_window_ends() {
        let storms = RenewalStorms::default();
        let text = TokenText::from_header(b"hvs.dead").unwrap();
        let (here, there) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1));
        let renewer = storms.renewer(Some(&text), here.into());
        for _ in 0..FAILURES {
            assert!(!storms.is_raging(renewer, 100));
            storms.failed(renewer, 100);
        }
        assert!(storms.is_raging(renewer, 100 + WINDOW_SECONDS - 1));
        assert!(!storms.is_raging(storms.renewer(Some(&text), there.into()), 101));
        assert!(!storms.is_raging(renewer, 100 + WINDOW_SECONDS));
    }
}
