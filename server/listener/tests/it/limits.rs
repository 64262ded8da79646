use std::{sync::Arc, time::Duration};

use selkie_listener::{Drained, Limits};
use tokio::{net::TcpStream, time::Instant};

use crate::harness::{Client, Running, TestService, on_paused_clock, settings, with_limits};

const WAIT: &str = "GET /wait HTTP/1.1\r\nhost: t\r\n\r\n";

#[test]
fn a_slow_head_is_cut_after_the_header_time() {
    on_paused_clock(async {
        let limits = Limits { header: Duration::from_secs(7), ..Limits::default() };
        let running = Running::start(with_limits(limits));
        let mut client = running.connect().await;
        client.send("GET / HTTP/1.1\r\nhost").await;
        let start = Instant::now();
        assert!(client.is_closed().await);
        assert_eq!(start.elapsed().as_secs(), 7);
    });
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_time() {
    on_paused_clock(async {
        let running = Running::start(settings());
        let mut client = running.connect().await;
        client.get("/").await;
        let start = Instant::now();
        assert!(client.is_closed().await);
        assert_eq!(start.elapsed().as_secs(), Limits::default().idle.as_secs());
    });
}

#[test]
fn an_idle_connection_makes_room_for_a_new_one() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 1, ..Limits::default() }));
        let mut idle = running.connect().await;
        idle.get("/").await;
        let mut newcomer = running.connect().await;
        assert!(newcomer.get("/").await.ends_with("hello"));
        assert!(idle.is_closed().await);
    });
}

#[test]
fn beyond_the_limit_connections_wait_for_their_turn() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 1, ..Limits::default() }));
        let mut first = running.connect().await;
        first.send(WAIT).await;
        let mut second = running.connect().await;
        second.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n").await;
        assert!(second.hears_nothing_for(Duration::from_secs(60)).await);
        running.service.go.notify_one();
        assert!(first.reply().await.ends_with("waited"));
        assert!(second.reply().await.ends_with("hello"));
    });
}

#[test]
fn a_silent_connection_gives_its_place_back() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 1, ..Limits::default() }));
        let mut silent = running.connect().await;
        tokio::task::yield_now().await;
        let mut second = running.connect().await;
        let start = Instant::now();
        assert!(second.get("/").await.ends_with("hello"));
        assert!(start.elapsed() <= Duration::from_secs(1));
        assert!(silent.is_closed().await);
    });
}

#[test]
fn a_slow_head_gives_its_place_to_who_waits_also_after_a_request() {
    on_paused_clock(async {
        for earlier in [0, 1] {
            let running =
                Running::start(with_limits(Limits { connections: 1, ..Limits::default() }));
            let mut slow = running.connect().await;
            for _ in 0..earlier {
                slow.get("/").await;
            }
            slow.send("GET / HTTP/1.1\r\nhost").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let start = Instant::now();
            let mut second = running.connect().await;
            assert!(second.get("/").await.ends_with("hello"));
            assert!(start.elapsed() <= Duration::from_millis(1_500), "{:?}", start.elapsed());
            assert!(slow.is_closed().await);
        }
    });
}

#[test]
fn a_strangers_slow_body_gives_its_place_to_who_waits() {
    on_paused_clock(async {
        let limits = Limits { connections: 1, ..Limits::default() };
        let header = limits.header;
        let running = Running::start(with_limits(limits));
        let mut slow = running.connect().await;
        slow.send("POST /stranger HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nYQ").await;
        // Longer than a head may take: it is borne while nobody waits.
        assert!(slow.hears_nothing_for(header * 2).await);
        let mut second = running.connect().await;
        assert!(second.get("/").await.ends_with("hello"));
        assert!(slow.is_closed().await);
    });
}

#[test]
fn only_as_many_are_sent_away_as_wait() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 8, ..Limits::default() }));
        let mut idle = Vec::new();
        for _ in 0..8 {
            let mut client = running.connect().await;
            client.get("/").await;
            idle.push(client);
        }
        let mut newcomers = Vec::new();
        for _ in 0..3 {
            let mut client = running.connect().await;
            client.send(WAIT).await;
            newcomers.push(client);
        }
        // Much longer than it takes to look for more who could go.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let mut open = 0;
        for client in &mut idle {
            open += usize::from(client.hears_nothing_for(Duration::from_millis(1)).await);
        }
        assert_eq!(open, 5);
        for client in &mut newcomers {
            running.service.go.notify_one();
            assert!(client.reply().await.ends_with("waited"));
        }
    });
}

#[test]
fn a_head_that_came_while_the_server_was_late_is_answered_also_at_the_limit() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 1, ..Limits::default() }));
        let mut first = running.connect().await;
        first.send("GET /wait HTTP/1.1\r\nhost").await;
        let mut second = running.connect().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.send(": t\r\n\r\n").await;
        // From here the server comes to nothing for long.
        tokio::time::advance(Duration::from_secs(60)).await;
        running.service.go.notify_one();
        assert!(first.reply().await.ends_with("waited"));
        assert!(second.get("/").await.ends_with("hello"));
    });
}

#[test]
fn a_slow_head_is_borne_as_long_as_nobody_waits() {
    on_paused_clock(async {
        let running = Running::start(with_limits(Limits { connections: 2, ..Limits::default() }));
        let mut slow = running.connect().await;
        slow.send("GET / HTTP/1.1\r\nhost").await;
        let mut second = running.connect().await;
        assert!(second.get("/").await.ends_with("hello"));
        assert!(slow.hears_nothing_for(Duration::from_secs(5)).await);
        slow.send(": t\r\n\r\n").await;
        assert!(slow.reply().await.ends_with("hello"));
    });
}

#[test]
fn a_drain_lets_a_request_finish_and_closes_what_is_idle() {
    on_paused_clock(async {
        let running = Running::start(settings());
        let mut idle = running.connect().await;
        idle.get("/").await;
        let mut busy = running.connect().await;
        busy.send(WAIT).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.drain.begin(Duration::from_secs(30));
        assert!(idle.is_closed().await);
        assert!(TcpStream::connect(running.address).await.is_err(), "the socket is still open");
        running.service.go.notify_one();
        let reply = busy.reply().await;
        assert!(reply.contains("connection: close\r\n") && reply.ends_with("waited"), "{reply}");
        assert!(busy.is_closed().await);
        assert_eq!(running.served.await.unwrap(), Drained { cut: 0 });
    });
}

#[test]
fn a_drain_cuts_what_does_not_finish_and_counts_it() {
    on_paused_clock(async {
        let running = Running::start(settings());
        let mut clients = [running.connect().await, running.connect().await];
        for client in &mut clients {
            client.send(WAIT).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let start = Instant::now();
        running.drain.begin(Duration::from_secs(30));
        assert_eq!(running.served.await.unwrap(), Drained { cut: 2 });
        assert_eq!(start.elapsed().as_secs(), 30);
        for client in &mut clients {
            assert!(client.is_closed().await);
        }
    });
}

#[test]
fn a_second_signal_shortens_the_drain() {
    on_paused_clock(async {
        let running = Running::start(settings());
        let mut client = running.connect().await;
        client.send(WAIT).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.drain.begin(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let start = Instant::now();
        running.drain.begin(Duration::ZERO);
        assert_eq!(running.served.await.unwrap(), Drained { cut: 1 });
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}

#[tokio::test]
async fn several_listeners_share_a_service_and_a_drain() {
    let one = Running::start(settings());
    let service = TestService { go: Arc::clone(&one.service.go) };
    let two = Running::start_with(settings(), service.clone(), service);
    for address in [one.address, two.address] {
        let mut client = Client::new(TcpStream::connect(address).await.unwrap());
        assert!(client.get("/").await.ends_with("hello"));
    }
    assert_ne!(one.address.port(), two.address.port());
}
