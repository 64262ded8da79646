//! No outage of ours costs a seal its token.

use std::sync::Arc;

use selkie_storage::{Guard, MemoryStore, Record, Revision, Store, Write};

use super::*;
use crate::state::listing::Listed;
use crate::transit::tests::faulty_store::{FaultyStore, Mood};

const DAY: u64 = 86_400;

fn periodic() -> NewToken {
    NewToken { period: Some(Duration::from_secs(DAY)), ttl: None, ..wanted() }
}

/// What the watch does when it begins, and goes on to do.
async fn hear(auth: &Auth) {
    let store = auth.records.store().unwrap();
    auth.records.reload(&*store).await.unwrap();
}

/// Lets time go by while everything works.
async fn live(auth: &Auth, clock: &TestClock, seconds: u64) {
    for _ in 0..seconds / 50 {
        auth.tokens.clock.beat(&auth.records, false).await.unwrap();
        clock.advance(50);
    }
    auth.tokens.clock.beat(&auth.records, false).await.unwrap();
    hear(auth).await;
}

#[tokio::test]
async fn a_periodic_token_outlives_ten_days_without_any_replica() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let issued = auth.issue(periodic()).await.unwrap();
    live(&auth, &clock, DAY / 2).await;
    drop(auth);
    clock.advance(10 * DAY);
    let auth = replica(&store, &clock).await;
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    let renewed = auth.renew(&deployment(), &id, None).await.unwrap();
    assert_eq!(renewed.lease.as_secs(), DAY);
    live(&auth, &clock, DAY - 100).await;
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    live(&auth, &clock, 200).await;
    assert!(authenticate(&auth, &issued.text, HERE).await.is_err());
}

#[tokio::test]
async fn a_token_without_period_keeps_what_it_had_left_when_all_went_down() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let issued = auth.issue(wanted()).await.unwrap();
    live(&auth, &clock, 600).await;
    drop(auth);
    clock.advance(DAY);
    let auth = replica(&store, &clock).await;
    auth.tokens.clock.beat(&auth.records, true).await.unwrap();
    let token = auth.find(&deployment(), &issued.text).unwrap().unwrap().token;
    let left = auth.tokens.remaining(&token).unwrap().as_secs();
    assert_eq!(left, 3600 - 600);
}

/// Which are kept in a store that others, whose clocks have not leapt, use too.
#[tokio::test]
async fn a_leap_of_the_wall_clock_deletes_no_secret_id() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    assert_eq!(auth.tools().time_to_delete(), clock.unix_seconds(), "before its first mark");
    auth.issue(wanted()).await.unwrap();
    live(&auth, &clock, 600).await;
    let before = auth.tools().time_to_delete();
    assert_eq!(before, clock.unix_seconds());
    clock.advance(365 * DAY);
    assert!(auth.tools().time_to_delete() <= before + clock::FREE_RUN_SECONDS);
    live(&auth, &clock, 600).await;
    let after = auth.tools().time_to_delete();
    assert!((before + 600..=before + 600 + clock::FREE_RUN_SECONDS).contains(&after), "{after}");
    clock.go_back(366 * DAY);
    assert_eq!(auth.tools().time_to_delete(), clock.unix_seconds());
}

#[tokio::test]
async fn a_renewal_while_the_store_is_away_counts_when_it_is_back() {
    let memory = Arc::new(MemoryStore::new());
    let faulty = FaultyStore::new(&memory);
    let (store, clock) = (Arc::clone(&faulty) as Arc<dyn Store>, TestClock::new());
    let auth = replica(&store, &clock).await;
    let issued = auth.issue(periodic()).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    live(&auth, &clock, DAY - 1000).await;
    faulty.is(Mood::Away);
    let declared = deployment();
    assert_eq!(auth.renew(&declared, &id, None).await.unwrap().lease.as_secs(), DAY);
    assert!(matches!(
        auth.issue(periodic()).await,
        Err(TokenError::Records(RecordsError::Store(_)))
    ));
    clock.advance(3600);
    assert!(auth.tokens.clock.beat(&auth.records, false).await.is_err());
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    faulty.is(Mood::Well);
    // The client comes back when two thirds of what it was told have gone by.
    live(&auth, &clock, DAY * 3 / 4).await;
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    let renewed = auth.renew(&declared, &id, None).await.unwrap();
    assert_eq!(renewed.token.expires, Some(auth.tokens.clock.now() + DAY));
}

#[tokio::test]
async fn a_revocation_wins_over_a_renewal_that_was_not_written() {
    let memory = Arc::new(MemoryStore::new());
    let (clock, faulty) = (TestClock::new(), FaultyStore::new(&memory));
    let cut_off = replica(&(Arc::clone(&faulty) as _), &clock).await;
    let issued = cut_off.issue(periodic()).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    let other = replica(&(Arc::clone(&memory) as Arc<dyn Store>), &clock).await;
    faulty.is(Mood::Away);
    let declared = deployment();
    clock.advance(DAY / 2);
    cut_off.renew(&declared, &id, None).await.unwrap();
    other.revoke(&id).await.unwrap();
    faulty.is(Mood::Well);
    clock.advance(10);
    let renewed = cut_off.renew(&declared, &id, None).await;
    assert!(matches!(renewed, Err(RenewError::NotFound)), "{renewed:?}");
    assert!(authenticate(&cut_off, &issued.text, HERE).await.is_err());
}

/// Tells of each kind that is held anew.
struct Told(Arc<dyn Mirrors>, Arc<dyn Fn() + Send + Sync>);

impl Mirrors for Told {
    fn root(&self) -> &'static str {
        self.0.root()
    }

    fn judged_by(&self) -> &'static [&'static str] {
        self.0.judged_by()
    }

    fn replace(&self, listed: &Listed) {
        self.0.replace(listed);
        self.1();
    }

    fn take(&self, revision: Revision, writes: &[Write]) {
        self.0.take(revision, writes);
    }

    fn settle(&self, revision: Revision) {
        self.0.settle(revision);
    }

    fn look(&self, guard: &Guard, found: Option<&Record>) {
        self.0.look(guard, found);
    }

    fn followed(&self) -> Option<Revision> {
        self.0.followed()
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_elsewhere_has_not_ended_while_it_is_heard_of() {
    let (store, clock) = (store(), TestClock::new());
    let one = replica(&store, &clock).await;
    let issued = one.issue(periodic()).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    live(&one, &clock, 600).await;
    let two = Arc::new(Tokens::new(Arc::clone(&clock) as _, Arc::new(os_random)));
    let (ended, looked) = (Arc::clone(&two), Arc::new(AtomicU64::new(0)));
    let looks = Arc::clone(&looked);
    let look: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        if let Some(held) = ended.mirror.get(&id).unwrap() {
            assert!(ended.remaining(&held.value).unwrap() > Duration::ZERO);
            looks.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mirrors = two.mirrors().into_iter().map(|one| Arc::new(Told(one, Arc::clone(&look))) as _);
    let records = Records::new(true, mirrors.collect(), Arc::clone(&clock) as _);
    records.attach(Arc::clone(&store)).await.unwrap();
    // Cut off from here on.
    live(&one, &clock, DAY / 2).await;
    one.renew(&deployment(), &id, None).await.unwrap();
    live(&one, &clock, DAY * 3 / 4).await;
    let before = looked.load(Ordering::Relaxed);
    records.reload(&*store).await.unwrap();
    assert_eq!(looked.load(Ordering::Relaxed) - before, 3, "after each kind");
}

/// The store is back, and its watch is not yet.
#[tokio::test]
async fn a_beat_ends_no_token_whose_renewal_was_not_heard_of() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let issued = one.issue(periodic()).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    live(&one, &clock, 600).await;
    hear(&two).await;
    live(&one, &clock, DAY / 2).await;
    one.renew(&deployment(), &id, None).await.unwrap();
    live(&one, &clock, DAY * 3 / 4).await;
    two.tokens.clock.beat(&two.records, false).await.unwrap();
    authenticate(&two, &issued.text, HERE).await.unwrap();
    assert_eq!(two.tokens.sweep(&two.records).await.unwrap(), 0);
    hear(&two).await;
    authenticate(&two, &issued.text, HERE).await.unwrap();
    assert_eq!(two.tokens.clock.now(), one.tokens.clock.now());
}

/// Whoever granted renewals that could not be written makes good for them with a mark.
#[tokio::test]
async fn no_sweep_goes_by_a_mark_that_is_no_longer_the_last() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let issued = one.issue(periodic()).await.unwrap();
    live(&one, &clock, DAY - 50).await;
    hear(&two).await;
    clock.advance(40);
    one.tokens.clock.owe();
    one.tokens.clock.beat(&one.records, false).await.unwrap();
    clock.advance(15);
    assert!(authenticate(&two, &issued.text, HERE).await.is_err(), "as far as it has heard");
    assert_eq!(two.tokens.sweep(&two.records).await.unwrap(), 0);
    for auth in [&one, &two] {
        hear(auth).await;
        authenticate(auth, &issued.text, HERE).await.unwrap();
    }
}

/// An expired token would live again.
#[tokio::test]
async fn the_token_clock_never_goes_back_where_another_replica_made_the_mark() {
    let (store, clock) = (store(), TestClock::new());
    let one = replica(&store, &clock).await;
    one.tokens.clock.beat(&one.records, true).await.unwrap();
    let other = replica(&store, &clock).await;
    clock.advance(5);
    other.tokens.clock.beat(&other.records, false).await.unwrap();
    let began = other.tokens.clock.now();
    let mut last = began;
    for _ in 0..100 {
        clock.advance(1);
        let now = other.tokens.clock.now();
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    assert!(last - began <= 60, "and it does not run on either");
    clock.go_back(90);
    assert_eq!(other.tokens.clock.now(), last);
}

/// A replica whose clock was ahead by less than may be has kept a mark, and stopped.
#[tokio::test]
async fn a_mark_of_a_moment_to_come_does_not_silence_the_replicas_until_then() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    clock.advance(200);
    auth.tokens.clock.beat(&auth.records, true).await.unwrap();
    clock.go_back(200);
    hear(&auth).await;
    let tokens = &auth.tokens.clock;
    assert!(matches!(tokens.beat(&auth.records, false).await, Ok(clock::Beat::NotDue)));
    clock.advance(60);
    assert!(matches!(tokens.beat(&auth.records, false).await, Ok(clock::Beat::Kept)));
}

#[tokio::test]
async fn a_wall_clock_that_leaps_costs_a_token_a_minute_at_most() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let issued = auth.issue(wanted()).await.unwrap();
    live(&auth, &clock, 100).await;
    let before = auth.tokens.clock.now();
    clock.advance(365 * DAY);
    auth.tokens.clock.beat(&auth.records, false).await.unwrap();
    let after = auth.tokens.clock.now();
    assert!(after <= before + clock::FREE_RUN_SECONDS, "{before} {after}");
    clock.go_back(365 * DAY);
    let told = auth.tokens.clock.beat(&auth.records, false).await.unwrap();
    assert!(matches!(told, clock::Beat::ClocksDisagree { .. }), "{told:?}");
    assert!(auth.tokens.clock.now() <= before + clock::FREE_RUN_SECONDS);
    authenticate(&auth, &issued.text, HERE).await.unwrap();
}

#[tokio::test]
async fn a_batch_token_ends_where_it_is_the_only_token_left() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    auth.issue(wanted()).await.unwrap();
    live(&auth, &clock, 4000).await;
    assert_eq!(auth.tokens.sweep(&auth.records).await.unwrap(), 1);
    let batch = NewToken { kind: TokenKind::Batch, renewable: false, ..wanted() };
    let issued = auth.issue(batch).await.unwrap();
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    for _ in 0..3700 / 50 {
        assert!(!auth.tokens.beat(&auth.records, false, false).await);
        clock.advance(50);
    }
    let ended = authenticate(&auth, &issued.text, HERE).await;
    assert!(matches!(ended, Err(NotAuthenticated::Expired { .. })), "{ended:?}");
}

#[tokio::test]
async fn while_the_store_is_away_a_token_is_believed_for_as_long_as_configured_and_a_seals_for_ever()
 {
    let memory = Arc::new(MemoryStore::new());
    let faulty = FaultyStore::new(&memory);
    let (store, clock) = (Arc::clone(&faulty) as Arc<dyn Store>, TestClock::new());
    let auth = replica(&store, &clock).await;
    let limit = Some(Duration::from_secs(3600));
    auth.tokens.set_limits(LeaseLimits { max_staleness: limit, ..LeaseLimits::default() });
    let long = NewToken { ttl: Some(Duration::from_secs(30 * DAY)), ..wanted() };
    let (seal, other) = (auth.issue(periodic()).await.unwrap(), auth.issue(long).await.unwrap());
    live(&auth, &clock, 100).await;
    faulty.is(Mood::Away);
    clock.advance(3600);
    authenticate(&auth, &other.text, HERE).await.unwrap();
    clock.advance(1);
    let stale = NotAuthenticated::Stale(known(&other));
    assert_eq!(authenticate(&auth, &other.text, HERE).await.unwrap_err(), stale);
    clock.advance(30 * DAY);
    authenticate(&auth, &seal.text, HERE).await.unwrap();
    faulty.is(Mood::Well);
    hear(&auth).await;
    authenticate(&auth, &other.text, HERE).await.unwrap();
    faulty.is(Mood::Away);
    let (max_staleness, max_periodic_staleness) = (None, limit);
    auth.tokens.set_limits(LeaseLimits {
        max_staleness,
        max_periodic_staleness,
        ..auth.tokens.limits()
    });
    clock.advance(DAY);
    authenticate(&auth, &other.text, HERE).await.unwrap();
    let stale = NotAuthenticated::Stale(known(&seal));
    assert_eq!(authenticate(&auth, &seal.text, HERE).await.unwrap_err(), stale);
}

/// Another replica may have revoked it: its own marks tell a replica nothing of that.
#[tokio::test(start_paused = true)]
async fn a_replica_that_writes_and_hears_nothing_believes_tokens_no_longer_than_configured() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let max_staleness = Some(Duration::from_secs(3600));
    auth.tokens.set_limits(LeaseLimits { max_staleness, ..LeaseLimits::default() });
    let long = NewToken { ttl: Some(Duration::from_secs(30 * DAY)), ..wanted() };
    let (seal, other) = (auth.issue(periodic()).await.unwrap(), auth.issue(long).await.unwrap());
    let stale = NotAuthenticated::Stale(known(&other));
    for wall_goes in [true, false] {
        live(&auth, &clock, 100).await;
        for _ in 0..72 {
            auth.tokens.clock.beat(&auth.records, false).await.unwrap();
            tokio::time::advance(Duration::from_secs(50)).await;
            clock.advance(if wall_goes { 50 } else { 0 });
        }
        authenticate(&auth, &other.text, HERE).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        auth.tokens.clock.beat(&auth.records, false).await.unwrap();
        assert_eq!(authenticate(&auth, &other.text, HERE).await.unwrap_err(), stale);
        assert_eq!(auth.unheard_for(), Duration::from_secs(3601));
        authenticate(&auth, &seal.text, HERE).await.unwrap();
        auth.records.follow(store.commit(&[], &[]).await.unwrap(), &[]);
        authenticate(&auth, &other.text, HERE).await.unwrap();
        assert_eq!(auth.unheard_for(), Duration::ZERO);
    }
}

/// How far the token clock comes in 8 hours, in which replicas beat one after the other whose wall
/// clocks are so many seconds ahead.
async fn counted_in_8_hours(ahead: &[u64], restarts: bool) -> u64 {
    let store = store();
    let clocks: Vec<_> = ahead
        .iter()
        .map(|ahead| {
            let clock = TestClock::new();
            clock.advance(*ahead);
            clock
        })
        .collect();
    let mut replicas = Vec::new();
    for clock in &clocks {
        replicas.push(replica(&store, clock).await);
    }
    let pause = clock::BEAT_SECONDS / u64::try_from(ahead.len()).unwrap();
    replicas[0].tokens.clock.beat(&replicas[0].records, true).await.unwrap();
    let began = replicas[0].tokens.clock.mark().clock;
    for _ in 0..8 * 3600 / clock::BEAT_SECONDS {
        for (replica, own) in replicas.iter_mut().zip(&clocks) {
            clocks.iter().for_each(|clock| clock.advance(pause));
            tokio::time::advance(Duration::from_secs(pause)).await;
            if restarts {
                *replica = self::replica(&store, own).await;
            }
            replica.records.reload(&*store).await.unwrap();
            replica.tokens.clock.beat(&replica.records, restarts).await.unwrap();
        }
    }
    replicas.iter().map(|one| one.tokens.clock.now()).max().unwrap() - began
}

#[tokio::test(start_paused = true)]
async fn replicas_whose_wall_clocks_disagree_age_no_token_faster_than_time_goes_by() {
    let most = 8 * 3600 + clock::FREE_RUN_SECONDS;
    let (two, four) = ([3600, 0], [3600, 0, 7200, 0]);
    for ahead in [&[0, 0][..], &two, &four] {
        let counted = counted_in_8_hours(ahead, false).await;
        assert!(counted <= most, "{counted} s of {most} with {ahead:?}");
        assert!(counted >= most / 2, "{counted} s: it stands with {ahead:?}");
    }
    let counted = counted_in_8_hours(&two, true).await;
    assert!(counted <= most, "{counted} s of {most} with restarts");
}
