use std::{
    io::Write,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use tokio::{
    io::AsyncReadExt,
    time::{advance, sleep},
};

use super::*;

/// Connections that leave when they are asked, in the order in which they do.
struct Known {
    crowd: Crowd,
    left: Arc<Mutex<Vec<&'static str>>>,
}

impl Known {
    /// At a listener with so many places.
    fn new(places: usize) -> Self {
        Self { crowd: Crowd::new(places), left: Arc::default() }
    }

    /// A connection that owes its first head.
    async fn joins(&mut self, name: &'static str) -> Phase {
        let (phase, left) = (Phase::default(), Arc::clone(&self.left));
        let of_task = phase.clone();
        self.crowd.admit(phase.clone(), async move {
            of_task.is_asked_to_end().await;
            left.lock().unwrap().push(name);
        });
        sleep(Duration::from_millis(1)).await;
        phase
    }

    /// Who has left, after room was made so many times.
    async fn leave(&mut self, times: usize) -> Vec<&'static str> {
        for _ in 0..times {
            self.crowd.make_room().await;
        }
        self.left.lock().unwrap().clone()
    }
}

/// A request was served, and the next is not asked yet.
fn idles(phase: &Phase) {
    phase.request_begins();
    phase.request_ends();
}

#[tokio::test(start_paused = true)]
async fn who_is_idle_leaves_first_and_then_who_has_owed_longest() {
    let mut known = Known::new(1);
    known.joins("owes for long").await;
    known.joins("owes").await;
    let deaf = known.joins("leaves its reply lying").await;
    let idle = known.joins("idle for long").await;
    idles(&deaf);
    deaf.bytes_are_not_taken();
    idles(&idle);
    known.crowd.look(Instant::now());
    advance(HURRY).await;
    idles(&known.joins("idle").await);
    let order = ["idle for long", "idle", "owes for long", "owes", "leaves its reply lying"];
    for times in 1..=order.len() {
        assert_eq!(known.leave(1).await, order[..times], "one for one");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_not_owed_for_long_and_who_is_worked_for_are_left_alone() {
    let mut known = Known::new(1);
    known.joins("owes").await.request_begins();
    known.joins("has had an answer").await.greeting_goes_on();
    known.crowd.look(Instant::now());
    advance(HURRY - MOMENT).await;
    assert!(known.leave(1).await.is_empty());
    assert_eq!(known.leave(2).await, ["has had an answer"]);
    advance(HURRY * 100).await;
    assert_eq!(known.leave(3).await, ["has had an answer"], "the other's answer is not its peer's");
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_is_not_worked_for_yet_owes_as_with_a_head() {
    let mut known = Known::new(1);
    let [slow, served] = [known.joins("slow").await, known.joins("served").await];
    for phase in [&slow, &served] {
        phase.request_begins();
        phase.stranger_waits();
    }
    known.crowd.look(Instant::now());
    advance(HURRY - MOMENT).await;
    assert!(known.leave(1).await.is_empty());
    served.request_begins();
    advance(HURRY * 100).await;
    assert_eq!(known.leave(3).await, ["slow"]);
}

#[tokio::test(start_paused = true)]
async fn time_counts_from_the_last_step_of_a_greeting() {
    let mut known = Known::new(1);
    let phase = known.joins("greets").await;
    for _ in 0..3 {
        advance(HURRY - MOMENT).await;
        phase.greeting_goes_on();
        assert!(known.leave(1).await.is_empty());
    }
    advance(HURRY).await;
    assert_eq!(known.leave(1).await, ["greets"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_is_late_to_read_is_not_held_against_its_peer() {
    let mut known = Known::new(1);
    let phase = known.joins("greets").await;
    advance(HURRY * 2).await;
    known.crowd.ask_one_to_leave(Instant::now());
    // What had arrived before is read only now, after the question.
    phase.greeting_goes_on();
    assert!(known.leave(3).await.is_empty());
    advance(HURRY).await;
    assert_eq!(known.leave(1).await, ["greets"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_runtime_has_not_noticed_yet_is_not_held_against_its_peer_either() {
    for bytes in [1, 0] {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let (mut crowd, phase) = (Crowd::new(1), Phase::default());
        crowd.admit(phase.clone(), async move {
            let greets = async {
                ours.read_u8().await.unwrap();
                phase.greeting_goes_on();
                pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = greets => {}
                _ = phase.is_asked_to_end() => {}
            }
        });
        sleep(Duration::from_millis(1)).await;
        advance(HURRY).await;
        peer.write_all(&[0][..bytes]).unwrap();
        crowd.make_room().await;
        assert_eq!(crowd.len(), bytes, "it stays if it has sent something");
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_go_when_asked_keeps_nobody_from_being_asked() {
    let mut known = Known::new(1);
    let stuck = Phase::default();
    known.crowd.admit(stuck.clone(), pending());
    sleep(Duration::from_millis(1)).await;
    idles(&stuck);
    idles(&known.joins("next").await);
    known.crowd.look(Instant::now());
    assert_eq!(known.leave(2).await, ["next"]);
    assert_eq!(known.crowd.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_who_owe_for_long_can_leave_within_a_moment() {
    let mut known = Known::new(1);
    for _ in 0..1_000 {
        known.crowd.admit(Phase::default(), async {});
    }
    for _ in 0..1_000 {
        known.crowd.one_ends().await;
    }
    assert!(known.crowd.members.is_empty(), "who has ended is forgotten");
    for _ in 0..1_000 {
        known.joins("owes").await;
    }
    advance(HURRY).await;
    let start = Instant::now();
    assert_eq!(known.leave(1_000).await.len(), 1_000);
    assert!(start.elapsed() <= MOMENT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_place_in_eight_is_for_those_who_need_longer() {
    let mut known = Known::new(16);
    for name in ["long", "long as well", "short"] {
        known.joins(name).await;
    }
    advance(HURRY).await;
    assert_eq!(known.leave(1).await, ["short"]);
    advance(LONG - HURRY - MOMENT * 2).await;
    assert_eq!(known.leave(1).await, ["short"]);
    advance(MOMENT * 2).await;
    assert_eq!(known.leave(2).await, ["short", "long", "long as well"]);
    for name in ["long again", "long again too", "short again"] {
        known.joins(name).await;
    }
    advance(HURRY).await;
    assert_eq!(known.leave(3).await[3..], ["short again"]);
}
