use std::process::{Child, Command, Stdio};

use selkie_listener::{ActivatedSocket, ActivatedSockets, ActivationError, Drain, Listener};
use tokio::net::TcpStream;

use crate::harness::{Client, TestService, settings};

/// Not a test by itself: what the next one runs in a process of its own.
#[tokio::test]
#[ignore = "run by `an_activated_socket_is_served_by_name_or_index`"]
async fn activated_child() {
    if std::env::var_os("LISTEN_FDS").is_none() {
        return;
    }
    let mut sockets = ActivatedSockets::inherit(Some("seal:other"));
    assert_eq!(sockets.passed(), 2);
    let absent = |taken| matches!(taken, Err(ActivationError::Absent));
    assert!(absent(sockets.take(&ActivatedSocket::Name("nobody".to_owned()))));
    assert!(absent(sockets.take(&ActivatedSocket::Index(2))));
    let seal = sockets.take(&ActivatedSocket::Name("seal".to_owned())).unwrap();
    assert!(absent(sockets.take(&ActivatedSocket::Index(0))), "a socket was given out twice");
    let not_tcp = sockets.take(&ActivatedSocket::Index(1));
    assert!(matches!(not_tcp, Err(ActivationError::Unusable(_))));
    let listener = Listener::from_socket(seal, settings()).unwrap();
    listener.serve(TestService::default(), Drain::new()).await;
}

/// A process that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn an_activated_socket_is_served_by_name_or_index() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // The shell puts the socket where the protocol wants it, as descriptor 3, and a file as 4.
    let child = Command::new("sh")
        .args(["-c", "exec 3<&0 4</dev/null; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "activation::activated_child", "--ignored", "--nocapture"])
        .env("LISTEN_FDS", "2")
        .env_remove("LISTEN_PID")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)))
        .spawn()
        .unwrap();
    let _killed = Killed(child);
    let mut client = Client::new(TcpStream::connect(address).await.unwrap());
    let reply = client.get("/").await;
    assert!(reply.ends_with("hello"), "{reply}");
}
