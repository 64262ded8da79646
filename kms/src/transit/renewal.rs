//! Keeps our token alive in the manners of Vault's own `LifetimeWatcher`, but for its faults: it
//! never asks again at once, and a token that cannot be renewed now is used as long as it lives.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use selkie_crypto::Random;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::body::Lease;
use super::client::TransitClient;
use super::token::TokenKeeper;
use super::{TransitDiagnosis, TransitOutcome};
use crate::KmsError;

/// After the first failure, doubling from one to the next, as Vault's client of today has it.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);
/// However short a token lives.
const SOONEST: Duration = Duration::from_secs(1);
/// However long a token lives, or its server says so.
const LATEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often a keeper that has nothing to do looks whether there is still a client.
const LOOK: Duration = Duration::from_secs(60);
/// A renewal that adds less to the life of a token than this part of it, or of [`LATEST`] where it
/// lives longer, has met its end. All that a renewal can add is the time since the one before, which
/// is more than half of the shorter of both. One that takes more than this away had its period
/// shortened, or its end moved: the next renewal shows which.
const LEAST_GAIN: u32 = 20;

/// How it stands with our token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenStanding {
    /// In how much time it expires; `None` if never, or if nobody knows.
    pub expires_in: Option<Duration>,
    /// Whether it is renewed before that.
    pub is_renewed: bool,
    /// Why the last renewal failed, if it did.
    pub trouble: Option<TransitDiagnosis>,
}

/// What the renewal knows.
pub(super) struct Renewal {
    random: Arc<Random>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    expires: Option<Instant>,
    is_renewed: bool,
    trouble: Option<TransitDiagnosis>,
    failures: u32,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next attempt, after this time.
    After(Duration),
    /// Nothing, until there is another token.
    Rest,
}

impl Renewal {
    pub(super) fn new(random: Arc<Random>) -> Self {
        Self { random, state: Mutex::default() }
    }

    pub(super) fn standing(&self) -> TokenStanding {
        let state = self.state();
        let now = Instant::now();
        TokenStanding {
            expires_in: state.expires.map(|expires| expires.saturating_duration_since(now)),
            is_renewed: state.is_renewed,
            trouble: state.trouble.clone(),
        }
    }

    /// Renews again and again, for as long as there is a client.
    pub(super) async fn keep(client: Weak<TransitClient>) {
        while let Some(alive) = client.upgrade() {
            let next = alive.renewal.attempt(&alive).await;
            let keeper = Arc::clone(&alive.token);
            drop(alive);
            let Some(is_another) = wait(&client, &keeper, next).await else { return };
            if let Some(alive) = client.upgrade().filter(|_| is_another) {
                *alive.renewal.state() = State::default();
            }
        }
    }

    /// One renewal.
    pub(super) async fn attempt(&self, client: &TransitClient) -> Next {
        let left = self.standing().expires_in;
        match client.renew_self().await {
            Ok(lease) => self.renewed(lease, left, client.host()),
            Err(error) => self.refused(&error, client).await,
        }
    }

    fn renewed(&self, lease: Lease, left: Option<Duration>, upstream: &str) -> Next {
        let least = lease.ttl.min(LATEST) / LEAST_GAIN;
        let is_at_its_end = left.is_some_and(|left| lease.ttl.abs_diff(left) <= least);
        let lasts = lease.ttl.is_zero();
        let is_renewed = lease.is_renewable && !is_at_its_end && !lasts;
        let was_failing = {
            let mut state = self.state();
            let was_ending = is_renewed && left.is_some() && !state.is_renewed;
            state.expires = Instant::now().checked_add(lease.ttl).filter(|_| !lasts);
            state.is_renewed = is_renewed;
            state.trouble = None;
            std::mem::take(&mut state.failures) > 0 || was_ending
        };
        if was_failing {
            info!(upstream, "the upstream's token is renewed again");
        }
        if !is_renewed && !lasts {
            tell_of_the_end(lease.ttl, upstream);
        }
        // The end may be moved, and a new period may be what is left of the old one by chance: that
        // is asked again as long as an answer is of use.
        let is_worth_asking = is_at_its_end && lease.is_renewable && lease.ttl > LAST_RETRY;
        if is_renewed || is_worth_asking {
            Next::After(self.before_the_end(lease.ttl))
        } else {
            Next::Rest
        }
    }

    /// Vault answers alike that a token is never renewed and that it is not renewed now, as where an
    /// LDAP server is away; and nobody knows yet how long one lives that may not renew itself. What it
    /// says of the token itself tells; where it does not say, the renewal is tried again.
    async fn refused(&self, error: &KmsError, client: &TransitClient) -> Next {
        let lease = if may_be_final(error) { client.look_up_self().await.ok() } else { None };
        if let Some(Lease { ttl, is_renewable }) = lease {
            self.state().expires = Instant::now().checked_add(ttl).filter(|_| !ttl.is_zero());
            if !is_renewable {
                return self.unrenewable(ttl, client.host());
            }
        }
        self.failed(error, client.host())
    }

    fn unrenewable(&self, ttl: Duration, upstream: &str) -> Next {
        {
            let mut state = self.state();
            (state.is_renewed, state.trouble, state.failures) = (false, None, 0);
        }
        if !ttl.is_zero() {
            tell_of_the_end(ttl, upstream);
        }
        Next::Rest
    }

    fn failed(&self, error: &KmsError, upstream: &str) -> Next {
        let trouble = TransitDiagnosis::of(error).cloned();
        let advice = trouble.as_ref().map(TransitDiagnosis::remedy);
        let reason = trouble.as_ref().map(ToString::to_string);
        let (failures, left) = {
            let mut state = self.state();
            state.trouble = trouble;
            state.failures = state.failures.saturating_add(1);
            (state.failures, state.expires.map(|expires| expires - Instant::now()))
        };
        let left = left.map(|left| left.as_secs());
        warn!(
            upstream,
            reason, advice, left, "the upstream's token is not renewed; it stays in use"
        );
        let factor = 1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        Next::After(self.jittered(FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY)))
    }

    /// Between three fifths and two thirds of `ttl`.
    fn before_the_end(&self, ttl: Duration) -> Duration {
        let ttl = ttl.min(LATEST);
        (ttl * 3 / 5 + ttl / 15 * self.draw() / 256).max(SOONEST)
    }

    /// Between three quarters of `time` and all of it.
    fn jittered(&self, time: Duration) -> Duration {
        time * 3 / 4 + time / 4 * self.draw() / 256
    }

    /// Without randomness there is no jitter, which is no reason to stop.
    fn draw(&self) -> u32 {
        let mut byte = [255];
        let _ = (self.random)(&mut byte);
        byte.map(u32::from)[0]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the next attempt, and tells whether another token is the reason; `None` once nobody has
/// the client any more, whose token is not kept longer than that.
async fn wait(client: &Weak<TransitClient>, keeper: &TokenKeeper, next: Next) -> Option<bool> {
    let end = match next {
        Next::After(wait) => Some(Instant::now() + wait),
        Next::Rest => None,
    };
    loop {
        let now = Instant::now();
        let look = end.map_or(LOOK, |end| end.saturating_duration_since(now).min(LOOK));
        let is_another = timeout(look, keeper.changed()).await.is_ok();
        if client.strong_count() == 0 {
            return None;
        }
        if is_another || end.is_some_and(|end| end <= Instant::now()) {
            return Some(is_another);
        }
    }
}

/// Whether the server knows the token and may never renew it.
fn may_be_final(error: &KmsError) -> bool {
    let outcome = TransitDiagnosis::of(error).map(|diagnosis| diagnosis.outcome);
    matches!(outcome, Some(TransitOutcome::TokenNotRenewable | TransitOutcome::PolicyMissing))
}

fn tell_of_the_end(ttl: Duration, upstream: &str) {
    error!(
        upstream,
        seconds = ttl.as_secs(),
        advice = TransitOutcome::TokenNotRenewable.remedy(),
        "the upstream's token expires and is not renewed"
    );
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transit::{TokenSource, TransitHop};

    fn renewal() -> Renewal {
        Renewal::new(Arc::new(|bytes: &mut [u8]| {
            bytes.fill(128);
            Ok(())
        }))
    }

    fn lease(seconds: u64) -> Lease {
        Lease { ttl: Duration::from_secs(seconds), is_renewable: true }
    }

    fn failure(outcome: TransitOutcome) -> KmsError {
        TransitDiagnosis::unanswered(TransitHop::Token, outcome, "vault.test").into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_two_thirds_of_its_life_are_over_and_never_at_once() {
        let renewal = renewal();
        for (ttl, least, most) in [(3600, 2160, 2400), (60, 36, 40), (1, 1, 1)] {
            let Next::After(wait) = renewal.renewed(lease(ttl), None, "u") else { panic!() };
            let range = Duration::from_secs(least)..=Duration::from_secs(most);
            assert!(range.contains(&wait), "{ttl}: {wait:?}");
        }
        assert!(renewal.standing().is_renewed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_at_the_end_of_its_days_is_used_up_without_asking_again() {
        let renewal = renewal();
        let left = Some(Duration::from_secs(100));
        assert_eq!(renewal.renewed(lease(100), left, "u"), Next::Rest);
        let standing = renewal.standing();
        assert_eq!((standing.expires_in, standing.is_renewed), (left, false));
        let fixed = Lease { is_renewable: false, ..lease(100) };
        assert_eq!(renewal.renewed(fixed, None, "u"), Next::Rest);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_lives_for_years_is_renewed_again_and_again() {
        let day = 24 * 3600;
        for days in [365, 400, 10_000] {
            let renewal = renewal();
            let mut left = None;
            for _ in 0..50 {
                let next = renewal.renewed(lease(days * day), left, "u");
                let Next::After(wait) = next else { panic!("{days}: {left:?}") };
                left = Some(Duration::from_secs(days * day) - wait);
            }
            // What cannot live longer still comes to its end.
            renewal.renewed(Lease { ttl: left.unwrap(), is_renewable: true }, left, "u");
            assert!(!renewal.standing().is_renewed, "{days}");
        }
    }

    /// Vault reads a role's `token_period` and the mount's `max_lease_ttl` anew at each renewal.
    #[tokio::test(start_paused = true)]
    async fn a_token_whose_period_was_shortened_is_renewed_by_the_new_one() {
        let hour = 3600;
        // 288 h could as well be the end of its days.
        for hours in [1, 24, 240, 288, 320, 500] {
            let renewal = renewal();
            let Next::After(wait) = renewal.renewed(lease(768 * hour), None, "u") else { panic!() };
            let mut left = Duration::from_secs(768 * hour) - wait;
            for _ in 0..20 {
                let next = renewal.renewed(lease(hours * hour), Some(left), "u");
                let Next::After(wait) = next else { panic!("{hours}: {left:?}") };
                assert!(wait < Duration::from_secs(hours * hour), "{hours}: {wait:?}");
                left = Duration::from_secs(hours * hour) - wait;
            }
            assert!(renewal.standing().is_renewed, "{hours}");
        }
    }

    /// Its `max_ttl` may be raised, and what looks like its end may be another period.
    #[tokio::test(start_paused = true)]
    async fn a_token_at_its_end_is_told_of_and_asked_for_a_few_times_more() {
        let renewal = renewal();
        let mut left = Duration::from_secs(768 * 3600);
        renewal.renewed(lease(768 * 3600), None, "u");
        let mut asked = 0;
        while let Next::After(wait) =
            renewal.renewed(Lease { ttl: left, is_renewable: true }, Some(left), "u")
        {
            assert_eq!(renewal.standing().expires_in, Some(left));
            assert!(!renewal.standing().is_renewed && wait >= left / 2, "{left:?}: {wait:?}");
            (asked, left) = (asked + 1, left - wait);
        }
        assert!(asked < 12 && left <= LAST_RETRY, "{asked}: {left:?}");
        renewal.renewed(lease(768 * 3600), Some(left), "u");
        assert!(renewal.standing().is_renewed);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_ten_seconds_to_five_minutes_apart_and_the_token_stays_known() {
        let renewal = renewal();
        renewal.renewed(lease(3600), None, "u");
        let mut waits = Vec::new();
        for _ in 0..40 {
            let error = failure(TransitOutcome::Outage);
            let Next::After(wait) = renewal.failed(&error, "u") else { panic!() };
            waits.push(wait);
        }
        assert!(waits.is_sorted() && waits[0] >= FIRST_RETRY * 3 / 4, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LAST_RETRY), "{waits:?}");
        let standing = renewal.standing();
        assert_eq!(standing.expires_in, Some(Duration::from_secs(3600)));
        let trouble = standing.trouble.map(|trouble| trouble.outcome);
        assert_eq!(trouble, Some(TransitOutcome::Outage));
        renewal.renewed(lease(3600), None, "u");
        assert_eq!(renewal.standing().trouble, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_any_length_is_renewed_within_a_month() {
        let renewal = renewal();
        for seconds in [u64::MAX, u64::MAX / 2, u64::MAX / 20] {
            let Next::After(wait) = renewal.renewed(lease(seconds), None, "u") else { panic!() };
            assert!(wait >= LATEST / 2 && wait <= LATEST, "{seconds}: {wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_keeper_of_a_dropped_client_ends_and_renews_nothing() {
        let keeper = TokenKeeper::new(TokenSource::Nowhere);
        for next in [Next::Rest, Next::After(LATEST)] {
            let ended = timeout(LOOK * 2, wait(&Weak::new(), &keeper, next)).await;
            assert_eq!(ended, Ok(None), "{next:?}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_renewal_itself_may_end_it() {
        for outcome in TransitOutcome::ALL {
            let may_end = matches!(
                outcome,
                TransitOutcome::TokenNotRenewable | TransitOutcome::PolicyMissing
            );
            assert_eq!(may_be_final(&failure(outcome)), may_end, "{outcome:?}");
        }
    }
}
