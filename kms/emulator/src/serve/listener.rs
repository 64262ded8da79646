//! Sockets to connections to requests.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::pipeline;
use super::switch::Mode;
use super::wire::Wire;
use crate::emulator::Emulator;

/// Longest for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    pub(crate) local: SocketAddr,
    pub(crate) is_tls: bool,
    /// Set before the connection is dropped, it is reset.
    pub(crate) reset: Arc<AtomicBool>,
}

/// The HTTPS port: listening, or bound so that connections are refused and the port stays ours.
enum Door {
    Listening(TcpListener),
    Shut(Option<TcpSocket>),
}

impl Door {
    fn turn(self, mode: Mode, address: SocketAddr) -> io::Result<Self> {
        match (self, mode) {
            (Self::Listening(listener), Mode::Closed) => {
                drop(listener);
                Ok(Self::Shut(bind(address).ok()))
            }
            (Self::Shut(socket), Mode::Open | Mode::Silent) => {
                let socket = socket.map_or_else(|| bind(address), Ok)?;
                Ok(Self::Listening(socket.listen(1024)?))
            }
            (unchanged, _) => Ok(unchanged),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves the HTTPS port until the task is aborted.
pub(crate) async fn https(
    emulator: Arc<Emulator>,
    listener: TcpListener,
    tls: TlsAcceptor,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut wanted = emulator.switch.wanted();
    let mut door = Door::Listening(listener);
    let mut connections = JoinSet::new();
    let mut before = Mode::Open;
    loop {
        let mode = *wanted.borrow_and_update();
        if mode != before {
            connections.shutdown().await;
        }
        before = mode;
        door = door.turn(mode, address)?;
        emulator.switch.has_reached(mode);
        tokio::select! {
            gone = wanted.changed() => if gone.is_err() { return Ok(()) },
            () = accept(&emulator, &door, mode, &tls, &mut connections) => {}
        }
    }
}

async fn accept(
    emulator: &Arc<Emulator>,
    door: &Door,
    mode: Mode,
    tls: &TlsAcceptor,
    connections: &mut JoinSet<()>,
) {
    let Door::Listening(listener) = door else { return std::future::pending().await };
    loop {
        while connections.try_join_next().is_some() {}
        let Some(stream) = accept_one(listener).await else { continue };
        if mode == Mode::Silent {
            connections.spawn(async move {
                let _kept_open = stream;
                std::future::pending::<()>().await;
            });
        } else {
            connections.spawn(tls_connection(Arc::clone(emulator), stream, tls.clone()));
        }
    }
}

async fn accept_one(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => stream.set_nodelay(true).ok().map(|()| stream),
        Err(_out_of_descriptors) => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

async fn tls_connection(emulator: Arc<Emulator>, stream: TcpStream, tls: TlsAcceptor) {
    let stats = Arc::clone(&emulator.stats);
    stats.connections.fetch_add(1, Ordering::Relaxed);
    let Some((connection, wire)) = describe(stream, true) else { return };
    match tokio::time::timeout(PATIENCE, tls.accept(wire)).await {
        Ok(Ok(stream)) => {
            stats.open_connections.fetch_add(1, Ordering::Relaxed);
            let _open = Open(&stats.open_connections);
            serve(&emulator, connection, stream).await;
        }
        Ok(Err(_)) | Err(_) => {
            stats.tls_failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts down when the connection ends, however it ends.
struct Open<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the HTTP port until the task is aborted.
pub(crate) async fn http(emulator: Arc<Emulator>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Some(stream) = accept_one(&listener).await else { continue };
        let emulator = Arc::clone(&emulator);
        connections.spawn(async move {
            if let Some((connection, wire)) = describe(stream, false) {
                serve(&emulator, connection, wire).await;
            }
        });
    }
}

fn describe(stream: TcpStream, is_tls: bool) -> Option<(Connection, Wire)> {
    let peer = stream.peer_addr().ok()?.ip();
    let local = stream.local_addr().ok()?;
    let reset = Arc::new(AtomicBool::new(false));
    let wire = Wire::new(stream, Arc::clone(&reset));
    Some((Connection { peer, local, is_tls, reset }, wire))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    emulator: &Arc<Emulator>,
    connection: Connection,
    stream: S,
) {
    let connection = Arc::new(connection);
    let service = service_fn(|request| {
        pipeline::handle(Arc::clone(emulator), Arc::clone(&connection), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // What ends a connection early is the client's affair, or a fault rule's.
    let _ended = served.await;
}
