use std::future::poll_fn;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use super::*;

const HEADER: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(300);
const STALL: Duration = Duration::from_secs(30);

fn patient() -> (PatientIo<DuplexStream>, Phase, DuplexStream) {
    let limits = Limits { header: HEADER, idle: REST, stall: STALL, ..Limits::default() };
    let (ours, peer) = duplex(4);
    let phase = Phase::default();
    (PatientIo::new(ours, phase.clone(), &limits), phase, peer)
}

async fn silence_lasts(io: &mut PatientIo<DuplexStream>) -> Duration {
    let start = Instant::now();
    assert_eq!(
        io.read(&mut [0; 4]).await.unwrap(),
        0,
        "silence must look like the end of the stream"
    );
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_is_due_within_the_header_time() {
    let (mut io, _phase, _peer) = patient();
    assert_eq!(silence_lasts(&mut io).await, HEADER);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_trickle_in_do_not_extend_the_header_time() {
    let (mut io, _phase, mut peer) = patient();
    let start = Instant::now();
    tokio::spawn(async move {
        while peer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    });
    while io.read(&mut [0; 4]).await.unwrap() > 0 {}
    assert_eq!(start.elapsed(), HEADER);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_has_the_idle_time_after_each_request() {
    let (mut io, phase, _peer) = patient();
    for _ in 0..3 {
        phase.request_begins();
        phase.request_ends();
        let wait = tokio::time::timeout(REST / 2, io.read(&mut [0; 4])).await;
        assert!(wait.is_err(), "cut before the idle time");
    }
    phase.request_begins();
    phase.request_ends();
    assert_eq!(silence_lasts(&mut io).await, REST);
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_the_header_time_from_its_first_byte() {
    let (mut io, phase, mut peer) = patient();
    phase.request_begins();
    phase.request_ends();
    peer.write_all(b"P").await.unwrap();
    assert_eq!(io.read(&mut [0; 4]).await.unwrap(), 1);
    assert_eq!(silence_lasts(&mut io).await, HEADER);
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_not_cut_for_silence() {
    let (mut io, phase, _peer) = patient();
    phase.request_begins();
    let wait = tokio::time::timeout(REST * 10, io.read(&mut [0; 4])).await;
    assert!(wait.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_cut_after_the_stall_time() {
    let (mut io, _phase, _peer) = patient();
    let start = Instant::now();
    let error = io.write_all(b"more than fits").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), STALL);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_a_little_is_not_cut() {
    let (mut io, _phase, mut peer) = patient();
    tokio::spawn(async move {
        while peer.read_u8().await.is_ok() {
            tokio::time::sleep(STALL / 2).await;
        }
    });
    io.write_all(&[0; 32]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn writing_counts_as_activity_of_an_idle_connection() {
    let (mut io, phase, _peer) = patient();
    phase.request_begins();
    phase.request_ends();
    assert!(tokio::time::timeout(REST / 2, io.read(&mut [0; 4])).await.is_err());
    poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"x")).await.unwrap();
    assert_eq!(silence_lasts(&mut io).await, REST);
}

#[tokio::test(start_paused = true)]
async fn silence_is_timed_from_the_reply_when_nobody_reads_again() {
    let (mut io, phase, _peer) = patient();
    phase.request_begins();
    let start = Instant::now();
    let cut = poll_fn(move |cx| {
        let read = Pin::new(&mut io).poll_read(cx, &mut ReadBuf::new(&mut [0; 4]));
        if read.is_pending() && start.elapsed().is_zero() {
            phase.request_ends();
            assert!(Pin::new(&mut io).poll_flush(cx).is_ready());
        }
        read
    });
    cut.await.unwrap();
    assert_eq!(start.elapsed(), REST);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_begins_behind_a_reply_left_lying_has_the_header_time() {
    let (mut io, phase, mut peer) = patient();
    phase.request_begins();
    phase.request_ends();
    io.write_all(b"full").await.unwrap();
    let write = poll_fn(|cx| Poll::Ready(Pin::new(&mut io).poll_write(cx, b"more"))).await;
    assert!(write.is_pending() && phase.word().kind() == Kind::Deaf);
    peer.write_all(b"P").await.unwrap();
    assert_eq!(io.read(&mut [0; 4]).await.unwrap(), 1);
    peer.read_exact(&mut [0; 4]).await.unwrap();
    io.write_all(b"more").await.unwrap();
    assert_eq!(silence_lasts(&mut io).await, HEADER);
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_left_lying_until_it_is_taken() {
    let (mut io, phase, mut peer) = patient();
    phase.request_begins();
    phase.request_ends();
    io.write_all(b"full").await.unwrap();
    assert_eq!(phase.word().kind(), Kind::Idle);
    assert!(tokio::time::timeout(STALL / 2, io.write_all(b"more")).await.is_err());
    assert_eq!(phase.word().kind(), Kind::Deaf);
    peer.read_exact(&mut [0; 4]).await.unwrap();
    io.write_all(b"more").await.unwrap();
    assert_eq!(phase.word().kind(), Kind::Idle);
}
