//! Listeners with what they need to serve. A reload swaps what is behind a socket while the kernel
//! goes on queueing.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use selkie_config::{Endpoint, Listener, ListenerLimits};
use selkie_listener::{
    ActivatedSocket, ActivatedSockets, Drain, Drained, InFlight, TlsMaterial, TlsSource,
};
use tokio::task::JoinSet;

use super::{ReloadError, ServeError, settings};
use crate::api::{self, Api, BodyLimits};
use crate::listener_certificates::Notice;
use crate::node::Node;

/// Connections that the kernel completes and holds for us, as in selkie-listener; the standard
/// library asks for 128, which many Vaults that start at once overrun.
const BACKLOG: i32 = 4096;

/// How long a request waits for its place among those in flight: little, so that encrypting can
/// still take its 1.5 s within the patience of a Vault that starts (I10).
const QUEUE_PATIENCE: Duration = Duration::from_millis(250);

/// How far the clock of an authority may be ahead of ours, in seconds, as those of replicas may. The
/// certificate is good soon, and nobody would send another SIGHUP.
const CLOCK_SKEW: u64 = 300;

/// A declared listener with everything that it needs to serve. The kernel queues connections from
/// here on.
#[derive(Debug)]
pub(super) struct Bound {
    listener: Listener,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsSource>,
    accepting: selkie_listener::Listener,
}

/// A listener that serves, with what a reload can swap.
#[derive(Debug)]
pub(super) struct Front {
    listener: Listener,
    /// Outlives the accept loop, which has a handle of its own, so that another can take over;
    /// `None` once it drains, so that the kernel refuses connections from then on.
    socket: Option<TcpListener>,
    address: SocketAddr,
    tls: Option<TlsSource>,
    in_flight: InFlight,
    service: Current,
    drain: Drain,
}

/// What a reload makes of a front.
#[derive(Debug)]
pub(super) enum Change {
    /// The accept loop goes on, with these certificates.
    Keep(Box<Listener>, Option<TlsMaterial>),
    /// Another accept loop takes over.
    Replace(Box<Bound>),
}

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The bound address; its port is never 0.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub is_tls: bool,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Bound {
    /// Reads the TLS files of `listener` and binds its address, or takes its socket out of
    /// `sockets`.
    pub(super) fn new(
        listener: Listener,
        sockets: &mut ActivatedSockets,
    ) -> Result<Self, ServeError> {
        let material = settings::load_tls(&listener)?;
        let mut take = |socket| {
            let taken = sockets.take(&socket);
            taken.map_err(|source| ServeError::Activation {
                endpoint: listener.endpoint.clone().into(),
                source,
            })
        };
        let socket = match &listener.endpoint {
            Endpoint::Address(address) => bind(*address)?,
            Endpoint::ActivatedName(name) => take(ActivatedSocket::Name(name.clone()))?,
            Endpoint::ActivatedIndex(index) => {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                take(ActivatedSocket::Index(index))?
            }
        };
        Self::on(socket, listener, material)
    }

    fn on(
        socket: TcpListener,
        listener: Listener,
        material: Option<TlsMaterial>,
    ) -> Result<Self, ServeError> {
        let tls = material.map(TlsSource::new);
        let accept_on = |socket: &TcpListener| -> io::Result<_> {
            let address = socket.local_addr()?;
            let settings = settings::listener_settings(&listener, address, tls.clone());
            let own = socket.try_clone()?;
            let accepting = selkie_listener::Listener::from_socket(own, settings)?;
            Ok((address, accepting))
        };
        match accept_on(&socket) {
            Ok((address, accepting)) => Ok(Self { listener, socket, address, tls, accepting }),
            Err(source) => Err(ServeError::Socket { endpoint: listener.endpoint.into(), source }),
        }
    }

    /// Serves the API on `node`.
    pub(super) fn open(self, node: &Arc<Node>, accept_loops: &mut JoinSet<Drained>) -> Front {
        let Self { listener, socket, address, tls, accepting } = self;
        let in_flight = in_flight(&listener.limits);
        let service = Current::new(api(node, &in_flight, &listener.limits));
        let drain = Drain::new();
        note_dates(node, address, tls.as_ref());
        accept_loops.spawn(accepting.serve(service.clone(), drain.clone()));
        let socket = Some(socket);
        Front { listener, socket, address, tls, in_flight, service, drain }
    }
}

impl Front {
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.listener.endpoint
    }

    pub(super) const fn listening(&self) -> Listening {
        Listening { address: self.address, is_tls: self.tls.is_some() }
    }

    pub(super) fn drain(&mut self, grace: Duration) {
        self.socket = None;
        self.drain.begin(grace);
    }

    /// All that can fail when this front is to become `listener`.
    pub(super) fn prepare(&self, listener: Listener, now: u64) -> Result<Change, ReloadError> {
        let socket = self.socket.as_ref().ok_or(ReloadError::Stopping)?;
        let material = settings::load_tls(&listener)?;
        self.keep_what_clients_accept(material.as_ref(), now)?;
        if settings::is_same_protocol(&self.listener, &listener) {
            return Ok(Change::Keep(Box::new(listener), material));
        }
        match socket.try_clone() {
            Ok(socket) => {
                let bound = Bound::on(socket, listener, material)?;
                Ok(Change::Replace(Box::new(bound)))
            }
            Err(source) => Err(ReloadError::Serve(ServeError::Socket {
                endpoint: listener.endpoint.into(),
                source,
            })),
        }
    }

    /// A start serves with a certificate that has expired, for there is nothing better to be had; a
    /// reload has the one in use.
    fn keep_what_clients_accept(
        &self,
        new: Option<&TlsMaterial>,
        now: u64,
    ) -> Result<(), ReloadError> {
        let refused = |validity| Notice::of(validity, now).filter(Notice::is_refused);
        let in_use = self.tls.as_ref().and_then(TlsSource::validity);
        let is_good = in_use.is_some_and(|validity| refused(validity).is_none());
        match new.and_then(TlsMaterial::validity).and_then(refused) {
            Some(notice) if is_good && !notice.passes_within(CLOCK_SKEW) => {
                let endpoint = self.listener.endpoint.clone().into();
                Err(ReloadError::Certificate { endpoint, notice })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply(
        &mut self,
        change: Change,
        node: &Arc<Node>,
        accept_loops: &mut JoinSet<Drained>,
        grace: Duration,
    ) {
        match change {
            Change::Keep(listener, material) => {
                if let (Some(tls), Some(material)) = (&self.tls, material) {
                    tls.replace(material);
                }
                note_dates(node, self.address, self.tls.as_ref());
                let limits = &listener.limits;
                if limits.max_in_flight_requests != self.listener.limits.max_in_flight_requests {
                    self.in_flight = in_flight(limits);
                }
                self.service.replace(api(node, &self.in_flight, limits));
                self.listener = *listener;
            }
            Change::Replace(bound) => {
                self.drain(grace);
                *self = bound.open(node, accept_loops);
            }
        }
    }
}

pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || -> io::Result<TcpListener> {
        let socket = TcpListener::bind(address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    listen().map_err(|source| ServeError::Bind { address, source })
}

/// Tells at once what is out of date already, or soon will be, and no more of what is gone.
fn note_dates(node: &Node, address: SocketAddr, tls: Option<&TlsSource>) {
    let now = node.clock().unix_seconds();
    let until = tls.and_then(TlsSource::lists_until);
    let (watch, deployment) = (node.auth().certificates(), node.deployment());
    watch.follow_lists((&address.to_string(), until), deployment.clients.lists_until(), now);
    let validity = tls.and_then(TlsSource::validity);
    node.listener_certificates().note(&address.to_string(), validity, now);
}

fn in_flight(limits: &ListenerLimits) -> InFlight {
    InFlight::new(limits.max_in_flight_requests, QUEUE_PATIENCE)
}

/// What answers the requests of one listener.
#[derive(Debug)]
enum Answers {
    Api(Api),
    /// The same behind a bench that spoils some.
    Scripted(TowerToHyperService<Router>),
}

type Answered = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

fn api(node: &Arc<Node>, in_flight: &InFlight, limits: &ListenerLimits) -> Answers {
    let body = BodyLimits { bytes: limits.max_request_size, time: limits.read_timeout };
    let Some(bench) = node.bench() else {
        return Answers::Api(Api::new(Arc::clone(node), body, in_flight.clone()));
    };
    let api = api::router(Arc::clone(node), body, in_flight.clone());
    let scripted = api::scripted(api, Arc::clone(node), Arc::clone(bench));
    Answers::Scripted(TowerToHyperService::new(scripted))
}

/// The API as of now; open connections see a new one with their next request.
#[derive(Clone, Debug)]
struct Current(Arc<ArcSwap<Answers>>);

impl Current {
    fn new(answers: Answers) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(answers)))
    }

    fn replace(&self, answers: Answers) {
        self.0.store(Arc::new(answers));
    }
}

impl Service<Request<Incoming>> for Current {
    type Response = Response;
    type Error = Infallible;
    type Future = Answered;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match &**self.0.load() {
            Answers::Api(api) => {
                let (api, request) = (api.clone(), request.map(Body::new));
                // Written where it stays: to move some kilobytes is to write them twice.
                let place = Box::new_uninit();
                Pin::from(Box::write(place, async move { Ok(api.answer(request).await) }))
            }
            Answers::Scripted(scripted) => Box::pin(scripted.call(request)),
        }
    }
}
