//! The listener that tells metrics, and nothing else, to whoever asks.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper_util::service::TowerToHyperService;
use selkie_config::MetricsListener;
use selkie_listener::{Drain, Drained, Limits, ListenerSettings, ProxyProtocol};
use tokio::task::JoinSet;

use super::ServeError;
use super::front::bind;
use crate::metrics;
use crate::node::Node;

/// More than all that would ever scrape one server.
const CONNECTIONS: usize = 32;

/// A bound socket; the kernel queues connections from here on.
#[derive(Debug)]
pub(super) struct MetricsFront {
    address: SocketAddr,
    accepting: selkie_listener::Listener,
}

impl MetricsFront {
    pub(super) fn bind(declared: MetricsListener) -> Result<Self, ServeError> {
        let failed = |source| ServeError::BindMetrics { address: declared.address, source };
        let socket = bind(declared.address).map_err(|error| match error {
            ServeError::Bind { source, .. } => failed(source),
            other => other,
        })?;
        let address = socket.local_addr().map_err(failed)?;
        let settings = ListenerSettings {
            name: format!("{address} (metrics)"),
            limits: Limits { connections: CONNECTIONS, ..Limits::default() },
            tls: None,
            proxy_protocol: ProxyProtocol::Off,
            forwarded_for: None,
        };
        let accepting = selkie_listener::Listener::from_socket(socket, settings).map_err(failed)?;
        Ok(Self { address, accepting })
    }

    pub(super) fn open(
        self,
        node: &Arc<Node>,
        accept_loops: &mut JoinSet<Drained>,
    ) -> (SocketAddr, Drain) {
        let drain = Drain::new();
        let router = Router::new().route("/metrics", get(tell)).route("/v1/sys/metrics", get(tell));
        let service = TowerToHyperService::new(router.with_state(Arc::clone(node)));
        accept_loops.spawn(self.accepting.serve(service, drain.clone()));
        (self.address, drain)
    }
}

async fn tell(State(node): State<Arc<Node>>) -> Response {
    match node.metrics_text(&node.deployment()) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_unprintable) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
