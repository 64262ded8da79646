use std::sync::Arc;

use super::*;

const MAX: usize = 8;

struct Tester {
    valve: Valve,
    jitter: Jitter,
    now: Instant,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Tester {
    fn new() -> Self {
        let pace = Pace {
            concurrency: NonZeroUsize::new(MAX).unwrap(),
            longest_retry_after: ms(5_000),
            probe: Backoff { first: ms(100), last: ms(1_000) },
        };
        let jitter = Jitter(Arc::new(|bytes: &mut [u8]| {
            bytes.fill(0xff);
            Ok(())
        }));
        Self { valve: Valve::new(pace), jitter, now: Instant::now() }
    }

    fn admit_all(&mut self) -> Vec<Pass> {
        std::iter::from_fn(|| self.valve.admit()).collect()
    }

    fn settle(&mut self, pass: &Pass, verdict: Verdict) {
        self.valve.settle(pass, verdict, self.now, &self.jitter);
    }

    fn call(&mut self, verdict: Verdict) {
        let pass = self.valve.admit().unwrap();
        self.settle(&pass, verdict);
    }

    /// How long it is closed from now on; it is ajar afterwards.
    fn closed_for(&mut self) -> Duration {
        let until = self.valve.closed_until().unwrap();
        let closed_for = until - self.now;
        self.valve.lapse(until - ms(1));
        assert_eq!(self.valve.closed_until(), Some(until));
        self.valve.lapse(until);
        self.now = until;
        closed_for
    }
}

#[test]
fn as_many_as_may_pass_at_once() {
    let mut tester = Tester::new();
    let passes = tester.admit_all();
    assert_eq!((passes.len(), tester.valve.in_flight()), (MAX, MAX));
    tester.settle(&passes[0], Verdict::Healthy);
    assert_eq!(tester.admit_all().len(), 1);
}

#[test]
fn failure_halves_the_limit_and_success_raises_it_by_one() {
    let mut tester = Tester::new();
    let mut limits = Vec::new();
    for verdict in [Verdict::Failing, Verdict::Failing, Verdict::Healthy, Verdict::Healthy] {
        tester.call(verdict);
        limits.push(tester.valve.limit());
    }
    assert_eq!(limits, [4, 2, 3, 4]);
}

#[test]
fn three_failures_without_a_success_between_close_it() {
    let mut tester = Tester::new();
    for _ in 0..9 {
        tester.call(Verdict::Failing);
        tester.call(Verdict::Failing);
        tester.call(Verdict::Healthy);
    }
    assert!(tester.valve.is_open());
    for _ in 0..3 {
        tester.call(Verdict::Failing);
    }
    assert_eq!(tester.closed_for(), ms(100));
}

#[test]
fn probes_of_a_kms_that_is_away_come_less_and_less_often() {
    let mut tester = Tester::new();
    (0..3).for_each(|_| tester.call(Verdict::Failing));
    let mut pauses = Vec::new();
    for _ in 0..6 {
        pauses.push(tester.closed_for());
        let probes = tester.admit_all();
        assert_eq!(probes.len(), 1);
        tester.settle(&probes[0], Verdict::Failing);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000].map(ms));
}

#[test]
fn after_a_probes_success_the_limit_doubles_with_each_round() {
    let mut tester = Tester::new();
    tester.call(Verdict::Throttled(Some(ms(700))));
    assert_eq!(tester.closed_for(), ms(700));
    tester.call(Verdict::Healthy);
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let passes = tester.admit_all();
        rounds.push(passes.len());
        passes.iter().for_each(|pass| tester.settle(pass, Verdict::Healthy));
    }
    assert_eq!(rounds, [2, 4, MAX]);
}

#[test]
fn only_the_first_retry_after_is_believed_and_not_for_long() {
    let mut tester = Tester::new();
    let mut pauses = Vec::new();
    for retry_after in [Some(60_000), Some(60_000), Some(1), None] {
        tester.call(Verdict::Throttled(retry_after.map(ms)));
        pauses.push(tester.closed_for());
    }
    assert_eq!(pauses, [5_000, 200, 50, 800].map(ms));
    tester.call(Verdict::Healthy);
    tester.call(Verdict::Throttled(None));
    assert_eq!(tester.closed_for(), ms(100));
}

#[test]
fn calls_from_before_the_closing_change_nothing() {
    let mut tester = Tester::new();
    let passes = tester.admit_all();
    tester.settle(&passes[0], Verdict::Throttled(None));
    for (pass, verdict) in passes.iter().skip(1).zip([
        Verdict::Healthy,
        Verdict::Failing,
        Verdict::Throttled(Some(ms(4_000))),
    ]) {
        tester.settle(pass, verdict);
    }
    assert_eq!(tester.closed_for(), ms(100));
    let probe = tester.valve.admit().unwrap();
    tester.settle(&passes[4], Verdict::Healthy);
    assert!(tester.valve.admit().is_none(), "the probe is still on its way");
    tester.settle(&probe, Verdict::Healthy);
    assert_eq!(tester.valve.limit(), 2);
}

#[test]
fn probe_that_is_left_does_not_make_room_for_another_at_once() {
    let mut tester = Tester::new();
    tester.call(Verdict::Throttled(None));
    tester.closed_for();
    tester.call(Verdict::Unused);
    tester.call(Verdict::Abandoned);
    assert!(tester.valve.admit().is_none());
    assert_eq!(tester.closed_for(), ms(200));
}
