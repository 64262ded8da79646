use std::{io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};
use tracing::{error, warn};

use crate::{
    connection::{Connection, Refusals, Terms},
    drain::{Drain, DrainWatch},
    forwarded::ForwardedFor,
    limits::Limits,
    proxy_protocol::ProxyProtocol,
    tls::TlsSource,
};

mod gate;

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
    /// At the limit of connections the listener stops accepting: who comes then is queued by the
    /// kernel and served as soon as there is room, where a refusal would end a Vault's start. To
    /// make room, connections that are idle between two requests are closed, which clients with a
    /// pool handle by connecting again, and those that take long over a handshake, a head or the
    /// taking of a reply; so only work holds a place while others wait. The same is done when the
    /// system gives no more descriptors.
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
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = drain.begun() => break,
                Some(_ended) = connections.join_next() => {}
                (stream, socket, slot) = gate.next() => {
                    let listener = Arc::clone(&terms.listener);
                    let (terms, pace) = (Arc::clone(&terms), gate.pace());
                    let connection = Connection { stream, socket, terms, pace, _slot: slot };
                    connections.spawn(contain(connection.serve(service.clone()), listener));
                }
            }
        }
        gate.close();
        finish(connections, drain, &terms.listener).await
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

async fn finish(mut connections: JoinSet<()>, mut drain: DrainWatch, listener: &str) -> Drained {
    loop {
        tokio::select! {
            biased;
            ended = connections.join_next() => match ended {
                Some(_ended) => {}
                None => return Drained { cut: 0 },
            },
            () = drain.over() => break,
        }
    }
    let cut = connections.len();
    warn!(%listener, cut, "connections were cut because they did not finish in time");
    connections.shutdown().await;
    Drained { cut }
}
