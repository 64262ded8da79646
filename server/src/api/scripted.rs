//! What a scripted fault is on the wire. All of it happens before a request reaches the service, or
//! after the service has answered and recorded the answer: never in between (invariant I8).

mod answer;
mod body;

use std::future::pending;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::Request;
use http::request::Parts;
use selkie_config::{FaultyOperation, RequestOutcome};
use selkie_listener::{ConnectionInfo, client_address};

use super::route::{Endpoint, Route, route};
use crate::auth::methods::AuthTable;
use crate::auth::{Client, Credentials};
use crate::deployment::Deployment;
use crate::faults::{Bench, BenchRequest};
use crate::node::Node;

/// `api`, whose answers are now and then what the script of `bench` says.
pub fn scripted(api: Router, node: Arc<Node>, bench: Arc<Bench>) -> Router {
    api.layer(from_fn_with_state((node, bench), befall))
}

async fn befall(
    State((node, bench)): State<(Arc<Node>, Arc<Bench>)>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let deployment = node.deployment();
    let table = AuthTable { declared: &deployment.auth_mounts, methods: node.auth().methods() };
    let route = route(&parts.method, &parts.uri, &deployment.mounts, table);
    let endpoint = route.as_ref().ok().and_then(|route| route.target.as_ref().ok());
    let (operation, key) = endpoint.map_or((None, None), named);
    let client = if bench.asks_for_clients() { client(&node, &deployment, &parts) } else { None };
    let client = client.as_ref().map(|client| (client.name(), client.accessor()));
    let happening = bench.befalls(BenchRequest { operation, key, client });
    let Some(happening) = happening else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    if !happening.delay.is_zero() {
        tokio::time::sleep(happening.delay).await;
    }
    let told = StandIn { node: &node, route: route.as_ref().ok(), operation };
    if let Some(instead) = told.instead(&happening.outcome).await {
        return instead;
    }
    let answer = next.run(Request::from_parts(parts, body)).await;
    changed(answer, &happening.outcome).await
}

/// What a script calls this endpoint, and the key that it is about.
fn named(endpoint: &Endpoint) -> (Option<FaultyOperation>, Option<&str>) {
    let (operation, key) = match endpoint {
        Endpoint::Encrypt(path) => (FaultyOperation::Encrypt, Some(path)),
        Endpoint::Decrypt(path) => (FaultyOperation::Decrypt, Some(path)),
        Endpoint::Rewrap(path) => (FaultyOperation::Rewrap, Some(path)),
        Endpoint::RenewSelf => (FaultyOperation::RenewSelf, None),
        Endpoint::LookupSelf(_) => (FaultyOperation::LookupSelf, None),
        Endpoint::Health => (FaultyOperation::Health, None),
        _ => return (None, None),
    };
    (Some(operation), key.map(|path| path.key.as_str()))
}

/// Who asks, found without any trace: a token of so many uses keeps them.
fn client(node: &Node, deployment: &Deployment, parts: &Parts) -> Option<Arc<Client>> {
    let connection = parts.extensions.get::<Arc<ConnectionInfo>>()?;
    let address = client_address(connection, &parts.headers).ok()?;
    let certificate = connection.tls.as_ref().and_then(|tls| tls.client.as_deref());
    let token = super::credential::token(&parts.headers);
    let credentials = Credentials { token: token.as_ref(), certificate, address };
    let now = node.clock().unix_seconds();
    let Some(text) = &token else {
        return deployment.clients.by_certificate(credentials, now).ok();
    };
    if let Ok(declared) = deployment.clients.authenticate(text, credentials, now) {
        return Some(declared);
    }
    let admitted = node.auth().find(deployment, text).ok()??;
    Some(node.auth().client_of(deployment, admitted))
}

/// What answers in place of the service are made of.
struct StandIn<'a> {
    node: &'a Node,
    route: Option<&'a Route<'a>>,
    operation: Option<FaultyOperation>,
}

impl StandIn<'_> {
    /// The answer where the service is never asked.
    async fn instead(&self, outcome: &RequestOutcome) -> Option<Response> {
        Some(match outcome {
            RequestOutcome::Status { status, error } => {
                answer::error(*status, error.as_deref(), self.operation, self.path())
            }
            RequestOutcome::Sealed => self.sealed(),
            RequestOutcome::Garbage => answer::page(200),
            RequestOutcome::Empty => answer::empty(),
            RequestOutcome::Close => body::broken(),
            RequestOutcome::Hang => pending().await,
            RequestOutcome::Answer
            | RequestOutcome::Truncated
            | RequestOutcome::WrongPlaintext
            | RequestOutcome::Version(_) => return None,
        })
    }

    fn path(&self) -> &str {
        self.route.map_or("", |route| &route.path)
    }

    fn sealed(&self) -> Response {
        match (self.operation, self.route) {
            (Some(FaultyOperation::Health), Some(route)) => {
                let now = self.node.clock().unix_seconds();
                let happened = self.node.bench().map_or(0, |bench| bench.happened());
                answer::sealed_health(now, happened, &route.query)
            }
            _ => answer::error(503, None, self.operation, self.path()),
        }
    }
}

/// What is made of the service's own answer.
async fn changed(answer: Response, outcome: &RequestOutcome) -> Response {
    match outcome {
        RequestOutcome::Truncated => body::truncated(answer).await,
        RequestOutcome::WrongPlaintext => body::with_wrong_plaintext(answer).await,
        RequestOutcome::Version(version) => body::with_version(answer, *version).await,
        _ => answer,
    }
}
