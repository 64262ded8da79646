//! Binds sockets and accepts. A connection that fails costs the listener nothing but that
//! connection.

use std::{
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::Instant,
};
use tracing::{error, warn};

use crate::{
    connection::{Connection, Refusals, Terms},
    drain::{Drain, DrainWatch},
    forwarded::ForwardedFor,
    limits::Limits,
    phase::Phase,
    proxy_protocol::ProxyProtocol,
    tls::TlsSource,
};

mod crowd;
mod gate;

use crowd::Crowd;
use gate::Gate;

/// Connections that the kernel completes and holds for us; it takes the smaller of this and
/// `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// What a listener does with its connections.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// For logs and for [`ConnectionInfo`](crate::ConnectionInfo).
    pub name: String,
    /// What it lets its peers hold.
    pub limits: Limits,
    /// None: plain HTTP.
    pub tls: Option<TlsSource>,
    /// What it makes of a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Whose `X-Forwarded-For` it believes; none: nobody's.
    pub forwarded_for: Option<ForwardedFor>,
}

/// A bound socket with its settings. The kernel queues connections from the moment it exists.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: ListenerSettings,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were not finished in time and were cut.
    pub cut: usize,
}

impl Listener {
    /// Binds an address; port 0 is any free one. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: SocketAddr, settings: ListenerSettings) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Else a restart would wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, settings })
    }

    /// Takes a socket that listens already, such as one of
    /// [`ActivatedSockets`](crate::ActivatedSockets). Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn from_socket(
        socket: std::net::TcpListener,
        settings: ListenerSettings,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: TcpListener::from_std(socket)?, settings })
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts and serves until `drain` begins, then finishes what is under way.
    ///
    /// At the limit of connections the listener stops accepting. New connections then wait in the
    /// kernel's queue until there is room, because a refusal would end a Vault's start.
    ///
    /// For each connection that waits, one is closed. Those that are idle between two requests go
    /// first, the longest idle first: clients with a pool simply reconnect. Next are those whose peer
    /// has for half a second or more failed to send the next part of a handshake or a head, or to
    /// read a reply, the longest first. One connection in eight is given four seconds, so that some
    /// finish even when every peer is slow. Input that the server itself has not read yet is not held
    /// against the peer, and a request that the service is working on is never ended. So only work
    /// holds a place while others wait, and work that has begun is finished before more is begun. The
    /// same is done when the system is out of file descriptors.
    ///
    /// After a panic of its own it continues to accept, and keeps its connections.
    ///
    /// # Panics
    /// When it has panicked more than three times, each within a second of the one before: then it
    /// is deaf, and the process had better be started anew.
    pub async fn serve<S, B>(self, service: S, drain: Drain) -> Drained
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let terms = Arc::new(self.settings.into_terms());
        let mut gate = Gate::new(self.socket, &terms);
        let mut drain = drain.watch();
        let mut restarts = Restarts::default();
        // What a panic leaves half done is at most one connection more or less.
        while let Err(panic) =
            AssertUnwindSafe(accept(&mut gate, &terms, &service, &mut drain)).catch_unwind().await
        {
            if !restarts.may_go_on() {
                resume_unwind(panic);
            }
        }
        finish(gate.close(), drain, &terms.listener).await
    }
}

/// Accepts until the drain begins.
async fn accept<S, B>(gate: &mut Gate, terms: &Arc<Terms>, service: &S, drain: &mut DrainWatch)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        tokio::select! {
            biased;
            () = drain.begun() => return,
            (stream, socket) = gate.next() => {
                let (listener, phase) = (Arc::clone(&terms.listener), Phase::default());
                let terms = Arc::clone(terms);
                let connection = Connection { stream, socket, terms, phase: phase.clone() };
                gate.admit(phase, contain(connection.serve(service.clone()), listener));
            }
        }
    }
}

/// How often an accept loop has begun anew after a panic.
#[derive(Debug, Default)]
struct Restarts {
    last: Option<Instant>,
    in_a_row: u32,
}

impl Restarts {
    const MOST: u32 = 3;
    const APART: Duration = Duration::from_secs(1);

    /// Not when there were too many already, each soon after the one before.
    fn may_go_on(&mut self) -> bool {
        let now = Instant::now();
        let is_soon = self.last.is_some_and(|last| now.duration_since(last) < Self::APART);
        self.in_a_row = if is_soon { self.in_a_row + 1 } else { 1 };
        self.last = Some(now);
        self.in_a_row <= Self::MOST
    }
}

/// A panic ends its own connection only. The payload stays out of the log: it may quote a request.
///
/// Reported by the connection's own task, so that a report that fails is no harm to the accept loop.
async fn contain(connection: impl Future<Output = ()>, listener: Arc<str>) {
    // Nothing of the connection is used again.
    if AssertUnwindSafe(connection).catch_unwind().await.is_err() {
        error!(%listener, "a connection ended in a panic");
    }
}

impl ListenerSettings {
    fn into_terms(self) -> Terms {
        Terms {
            listener: self.name.into(),
            http: Terms::http(&self.limits),
            limits: self.limits,
            tls: self.tls,
            proxy_protocol: self.proxy_protocol,
            forwarded_for: self.forwarded_for.map(Arc::new),
            refusals: Refusals::default(),
        }
    }
}

async fn finish(mut crowd: Crowd, mut drain: DrainWatch, listener: &str) -> Drained {
    crowd.ask_all_to_finish();
    while crowd.len() > 0 {
        tokio::select! {
            biased;
            () = crowd.one_ends() => {}
            () = drain.over() => {
                let cut = crowd.len();
                warn!(%listener, cut, "connections were cut because they did not finish in time");
                crowd.cut().await;
                return Drained { cut };
            }
        }
    }
    Drained { cut: 0 }
}
