//! A cluster at the end of a slow link.

use std::time::Duration;

use selkie_storage::{EtcdSettings, EtcdStore, Page, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use super::server::{Etcd, etcd_is_here};
use super::{answered, put, settings, store, write};

/// A piece of an answer, and the time that each takes: 400 KiB a second.
const PIECE: usize = 4096;
const PACE: Duration = Duration::from_millis(10);

/// The URL of a slow way to the member at `url`.
async fn slow_link_to(url: &str) -> String {
    let member: std::net::SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let socket = TcpSocket::new_v4().unwrap();
            // Little is under way when somebody gives up: that comes all the same.
            socket.set_recv_buffer_size(u32::try_from(PIECE).unwrap()).unwrap();
            tokio::spawn(carry(near, socket.connect(member).await.unwrap()));
        }
    });
    slow
}

async fn carry(near: TcpStream, far: TcpStream) {
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
        (near.into_split(), far.into_split());
    tokio::spawn(async move { copy(&mut near_read, &mut far_write).await });
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = far_read.read(&mut piece).await {
        if near_write.write_all(&piece[..length]).await.is_err() {
            return;
        }
        sleep(PACE).await;
    }
}

#[tokio::test]
async fn all_is_listed_over_a_link_that_is_too_slow_for_whole_pages() {
    list_slowly(&[]).await;
}

#[tokio::test]
async fn all_is_listed_over_a_slow_link_beside_an_address_where_nobody_listens() {
    list_slowly(&["http://127.0.0.1:1"]).await;
}

/// Lists all over a slow link, where `others` are addresses of members too.
async fn list_slowly(others: &[&str]) {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let direct = store(vec![etcd.url(0)]);
    for number in 0..128 {
        write(&direct, &[put(&format!("k/{number:03}"), &[7; 8192])]).await;
    }
    let mut endpoints = vec![slow_link_to(&etcd.url(0)).await];
    endpoints.extend(others.iter().map(ToString::to_string));
    let request_timeout = Duration::from_secs(1);
    let slow =
        EtcdStore::connect(EtcdSettings { request_timeout, ..settings(endpoints, "selkie/") });
    let slow = slow.unwrap();
    let mut listed = Vec::new();
    let mut next = Some(Page::all());
    while let Some(page) = next {
        let listing = answered(async || slow.list(&page).await).await;
        listed.extend(listing.records);
        next = listing.next;
    }
    assert_eq!(listed.len(), 128);
}
