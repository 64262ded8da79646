//! From an HTTP request to its reply: who asks, what may be read of them, and in which order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use http::request::Parts;
use opentelemetry::context::FutureExt;
use selkie_listener::{ConnectionInfo, InFlight, Overloaded, ShownCertificate, client_address};
use tokio::time::Instant;
use uuid::Uuid;

use super::advice::Denial;
use super::audited::{Audited, Incoming};
use super::body::{self, BodyLimits};
use super::call::{Call, Refusal};
use super::credential::is_shown;
use super::error::{ApiError, WrapFault};
use super::fields::Fields;
use super::handler;
use super::log_budget::LogBudgets;
use super::logged::LoggedRequest;
use super::login_places::LoginPlaces;
use super::query::Query;
use super::reply::{Reply, X_VAULT_NAMESPACE};
use super::route::{Access, Endpoint, MethodPath, Operation, Route, WrappingStep, route};
use crate::auth::methods::AuthTable;
use crate::auth::tokens::Renewer;
use crate::auth::wrapping::ShownWrapping;
use crate::auth::{Client, Credentials, NotAuthenticated};
use crate::deployment::Deployment;
use crate::node::Node;
use crate::traces;

/// What a login may send, which nobody has vouched for: a token of a cloud has some kilobytes.
const LOGIN_BYTES: usize = 64 << 10;
/// What else may be sent that is no plaintext, ciphertext or policy: it is taken apart into what takes
/// many times its room.
const OTHER_BYTES: usize = 1 << 20;

/// Vault's HTTP API on a node, for one listener.
///
/// Requests carry their `Arc<ConnectionInfo>` as an extension, which selkie-listener sets.
#[derive(Clone, Debug)]
pub struct Api(Arc<Service>);

/// What one listener's requests are answered with.
#[derive(Debug)]
struct Service {
    node: Arc<Node>,
    limits: BodyLimits,
    in_flight: InFlight,
    login_places: LoginPlaces,
    log_budgets: LogBudgets,
}

impl Api {
    /// The API on `node`, for a listener whose requests may have bodies within `limits`, and of
    /// which `in_flight` admits so many at a time. What is asked without a token, health above all,
    /// is always answered; nobody unknown takes a place.
    #[must_use]
    pub fn new(node: Arc<Node>, limits: BodyLimits, in_flight: InFlight) -> Self {
        let (login_places, log_budgets) = (LoginPlaces::default(), LogBudgets::default());
        Self(Arc::new(Service { node, limits, in_flight, login_places, log_budgets }))
    }

    /// Answers one request. There is one path to all endpoints, so that nothing of axum's routing
    /// stands in its way; what needs a [`Router`] takes [`router`].
    pub async fn answer(self, request: Request<Body>) -> Response {
        serve(&self.0, request).await
    }
}

/// [`Api`] for whatever stands in front of it.
pub fn router(node: Arc<Node>, limits: BodyLimits, in_flight: InFlight) -> Router {
    let answer = async |State(api): State<Api>, request| api.answer(request).await;
    Router::new().fallback(answer).with_state(Api::new(node, limits, in_flight))
}

async fn serve(service: &Service, request: Request<Body>) -> Response {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    let deployment = service.node.deployment();
    let auth = service.node.auth();
    let table = AuthTable { declared: &deployment.auth_mounts, methods: auth.methods() };
    let route = route(&parts.method, &parts.uri, &deployment.mounts, table);
    let _in_flight = service.node.metrics().request_begins();
    let name = route.as_ref().ok().and_then(|route| route.target.as_ref().ok());
    let name = name.map_or("none", Endpoint::name);
    let is_endpoint = route.as_ref().is_ok_and(|route| route.target.is_ok());
    let logged = LoggedRequest::new(id, &parts, is_endpoint);
    let span = traces::request(&parts.method, name);
    let is_renewal = route.as_ref().is_ok_and(|route| route.target == Ok(Endpoint::RenewSelf));
    let renewer = is_renewal.then(|| service.renewer(&parts)).flatten();
    let mut is_over = false;
    let reply = if renewer.is_some_and(|renewer| service.is_raging(renewer)) {
        // No line about it: there would be thousands.
        Reply::error(&ApiError::RenewalsFail)
    } else {
        // Begun where it stays: to move it costs its whole size.
        let request = Received { parts: &parts, id, came: began };
        let answer = || service.answer(request, body, deployment, route);
        let answered = match span.clone() {
            None => answer().await,
            Some(context) => Box::pin(answer().with_context(context)).await,
        };
        answered.unwrap_or_else(|refusal| {
            is_over = refusal.ends_connection();
            service.note_failure(renewer, &refusal);
            service.log(&refusal, &logged);
            Reply::error(&refusal.into_error())
        })
    };
    if let Some(span) = span {
        traces::answered(&span, reply.status().as_u16());
    }
    service.node.metrics().request(name, began.elapsed());
    tracing::debug!(
        request_id = id,
        method = %parts.method,
        path = &*logged.path,
        address = %logged.address(),
        status = reply.status().as_u16(),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    let mut response = reply.into_response(parts.headers.get(X_VAULT_NAMESPACE)).map(Body::new);
    if is_over {
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
    }
    response
}

impl Service {
    /// Who renews a token, where one renews its own.
    fn renewer(&self, parts: &Parts) -> Option<Renewer> {
        let connection = parts.extensions.get::<Arc<ConnectionInfo>>()?;
        let address = client_address(connection, &parts.headers).ok()?;
        let token = super::credential::token(&parts.headers);
        Some(self.node.auth().tokens().storms().renewer(token.as_ref(), address))
    }

    fn is_raging(&self, renewer: Renewer) -> bool {
        let second = self.node.clock().unix_seconds();
        self.node.auth().tokens().storms().is_raging(renewer, second)
    }

    fn note_failure(&self, renewer: Option<Renewer>, refusal: &Refusal) {
        let Some(renewer) = renewer.filter(|_| refusal.is_for_good()) else { return };
        let second = self.node.clock().unix_seconds();
        self.node.auth().tokens().storms().failed(renewer, second);
    }

    fn log(&self, refusal: &Refusal, request: &LoggedRequest<'_>) {
        if self.log_budgets.admit(refusal.kind(), self.node.clock().unix_seconds()) {
            refusal.log(request);
        }
    }

    async fn answer(
        &self,
        Received { parts, id, came }: Received<'_>,
        body: Body,
        deployment: Arc<Deployment>,
        route: Result<Route<'_>, ApiError>,
    ) -> Result<Reply, Refusal> {
        let connection = parts.extensions.get::<Arc<ConnectionInfo>>();
        let connection = connection.ok_or(ApiError::Internal)?;
        let address = client_address(connection, &parts.headers).map_err(ApiError::Forwarded)?;
        let certificate = self.certificate(connection)?;
        let mut route = route?;
        if let Ok(endpoint) = &route.target
            && endpoint.access() == Access::Open
        {
            return handler::open(&self.node, &deployment, endpoint, &route);
        }
        let token = super::credential::token(&parts.headers);
        let wrap_ttl = match &route.target {
            Ok(endpoint) => handler::wrap_ttl(&parts.headers, endpoint)?,
            Err(_) => None,
        };
        let incoming = Incoming { id, connection, address, token: token.as_ref() };
        let decides = |_: &&ShownCertificate| token.is_some() || !is_shown(&parts.headers);
        let certificate = certificate.filter(decides);
        let credentials = Credentials { token: token.as_ref(), certificate, address };
        let query = std::mem::take(&mut route.query);
        let arrival = Arrival { incoming, credentials, deployment: &deployment, route: &route };
        let asked = RequestHead { route: &route, query, parts };
        match self.sender(&arrival).await? {
            Sender::Answered(reply) => Ok(reply),
            // A rare one in a box of its own: no other request need be as large as it.
            Sender::Stranger(at) => Box::pin(self.log_in(asked, body, at, arrival, wrap_ttl)).await,
            Sender::Client(client) => {
                let audited = arrival.audited(&self.node, Some(&client));
                let mut call = Call {
                    node: &self.node,
                    deployment: Arc::clone(&deployment),
                    client: Arc::clone(&client),
                    token: token.as_ref(),
                    certificate,
                    address,
                    id,
                    log_budgets: &self.log_budgets,
                    wrap_ttl,
                    body_limit: u32::try_from(self.limits.bytes).unwrap_or(u32::MAX),
                    came,
                    trail: audited.trail.clone(),
                };
                let answer = self.handle(&mut call, asked, body, audited).await;
                let why = || Denial::of(&route, &call.transit());
                answer.map_err(|refusal| refusal.explained(why).by(&client))
            }
        }
    }

    /// What is decided before a client is known.
    async fn sender(&self, arrival: &Arrival<'_>) -> Result<Sender, Refusal> {
        let Arrival { incoming, credentials, deployment, route } = *arrival;
        let auth = self.node.auth();
        let wrapping = unwrapping(route).zip(ShownWrapping::of(credentials));
        if let Some((step, shown)) = wrapping
            && auth.knows_wrapped(shown.token)
        {
            return self.unwrap(arrival, step, shown).await;
        }
        if let Ok(Endpoint::Login(at)) = &route.target {
            return Ok(Sender::Stranger(at.clone()));
        }
        let mut stranger = match auth.authenticate(deployment, credentials).await {
            Ok(client) => return Ok(Sender::Client(client)),
            Err(stranger) => stranger,
        };
        if let (NotAuthenticated::UnknownToken, Some((step, shown))) = (&stranger, wrapping) {
            match auth.look_wrapped(shown).await {
                Ok(Some(_)) => return self.unwrap(arrival, step, shown).await,
                Ok(None) => {}
                Err(nobody_knows) => stranger = nobody_knows.into(),
            }
        }
        let answer = answer_stranger(stranger, route, incoming.id);
        arrival.audited(&self.node, None).stranger(answer).await.map(Sender::Answered)
    }

    /// Answers whoever shows a wrapping token in place of a client's.
    async fn unwrap(
        &self,
        arrival: &Arrival<'_>,
        step: WrappingStep,
        shown: ShownWrapping<'_>,
    ) -> Result<Sender, Refusal> {
        let mut audited = arrival.audited(&self.node, None);
        audited.request(None, &[]).await?;
        let taken = Box::pin(handler::take(&self.node, arrival.incoming.id, step, shown)).await;
        audited.response(taken).await.map(Sender::Answered)
    }

    /// Does what `operation` does, of which nothing is done if its reply could not be wrapped as it is
    /// to be.
    async fn wrapping(
        &self,
        ttl: Duration,
        (path, client): (&str, &Client),
        operation: impl Future<Output = Result<Reply, Refusal>>,
    ) -> Result<Reply, Refusal> {
        let room = handler::room_to_wrap(&self.node, &client.owner())?;
        Box::pin(handler::wrap(&self.node, path, (ttl, room), operation.await?)).await
    }

    /// Logs somebody in; the token is wrapped if it is to be, within the share of whoever it is.
    async fn answer_login(
        &self,
        who: (MethodPath, Credentials<'_>),
        fields: Fields<'_>,
        (path, id): (&str, &str),
        wrap_ttl: Option<Duration>,
    ) -> Result<Reply, Refusal> {
        let auth = self.node.auth();
        let Some(ttl) = wrap_ttl else { return handler::login(auth, who, fields, id, None).await };
        let room = handler::room_to_wrap(&self.node, "")?;
        let reply = handler::login(auth, who, fields, id, Some(&room)).await?;
        handler::wrap(&self.node, path, (ttl, room), reply).await
    }

    /// What the client has shown, if it would still pass: a connection that is kept open outlives
    /// neither the certificate nor its revocation.
    fn certificate<'c>(
        &self,
        connection: &'c ConnectionInfo,
    ) -> Result<Option<&'c ShownCertificate>, NotAuthenticated> {
        let Some(shown) = connection.tls.as_ref().and_then(|tls| tls.client.as_deref()) else {
            return Ok(None);
        };
        let now = self.node.clock().unix_seconds();
        shown.check(now)?;
        let lists_until = shown.lists_until();
        self.node.auth().certificates().note_lists(&connection.listener, lists_until, now);
        Ok(Some(shown))
    }

    fn limits_of(&self, endpoint: &Endpoint) -> BodyLimits {
        match endpoint.may_be_sent_much() {
            true => self.limits,
            false => BodyLimits { bytes: self.limits.bytes.min(OTHER_BYTES), ..self.limits },
        }
    }

    /// Nobody knows who asks: what that may cost is bounded apart from all else.
    async fn log_in(
        &self,
        asked: RequestHead<'_>,
        body: Body,
        at: MethodPath,
        arrival: Arrival<'_>,
        wrap_ttl: Option<Duration>,
    ) -> Result<Reply, Refusal> {
        let mut audited = arrival.audited(&self.node, None);
        let Arrival { incoming, credentials, .. } = arrival;
        let path = &*asked.route.path;
        let limits = BodyLimits { bytes: self.limits.bytes.min(LOGIN_BYTES), ..self.limits };
        let places = self.login_places.at(at.mount.uuid);
        let waits = async {
            let body = body::read(body, limits).await.map_err(ApiError::from)?;
            // Only now: who sends slowly takes no place from those who wait for one.
            let admitted = places.admit().await.map_err(|Overloaded| ApiError::Overloaded)?;
            Ok::<_, ApiError>((body, admitted))
        };
        let (body, _admitted) = incoming.connection.as_stranger(waits).await?;
        let whole = asked.whole(&body);
        let fields = asked.into_fields(&body)?;
        audited.login(&fields, whole).await?;
        let who = (at, credentials);
        let reply = self.answer_login(who, fields, (path, incoming.id), wrap_ttl).await;
        audited.response(reply).await
    }

    /// The body is read only for a client that is known: nobody else can make the server hold it.
    async fn handle(
        &self,
        call: &mut Call<'_>,
        asked: RequestHead<'_>,
        body: Body,
        mut audited: Audited<'_>,
    ) -> Result<Reply, Refusal> {
        let Route { path, operation, target, .. } = asked.route;
        let endpoint = match target {
            Ok(endpoint) => endpoint,
            Err(error) => {
                audited.request(None, &[]).await?;
                if let Err(stranger) = call.count_use().await {
                    return audited.response(Err(stranger.into())).await;
                }
                let error = call.hide(error.clone(), path, *operation);
                return audited.response(Err(error.into())).await;
            }
        };
        // 503, which every seal client tries again, and never 429, which old ones take for success.
        let overloaded = |Overloaded| ApiError::Overloaded;
        let announced = body::announced_bytes(&body, self.limits_of(endpoint));
        let _bytes = self.node.bytes().take(announced).await.map_err(overloaded)?;
        let read = body::read_timed(body, self.limits_of(endpoint)).await;
        let (body, waited) = read.map_err(ApiError::from)?;
        call.came += waited;
        // Only now: who sends slowly takes no place from those who wait for an answer.
        let admitted = match endpoint.asks_a_kms() {
            true => self.in_flight.admit_waiting(call.client.tag.number()).await,
            false => self.in_flight.admit().await,
        };
        let _admitted = admitted.map_err(overloaded)?;
        let whole = asked.whole(&body);
        let fields = asked.into_fields(&body)?;
        audited.request(Some(&fields), whole).await?;
        // Only now: without its line the request was none.
        if let Err(stranger) = call.count_use().await {
            return audited.response(Err(stranger.into())).await;
        }
        let reply = match call.wrap_ttl {
            Some(ttl) => {
                let client = Arc::clone(&call.client);
                Box::pin(self.wrapping(
                    ttl,
                    (path, &client),
                    handler::answer(call, endpoint, fields),
                ))
                .await
            }
            None => handler::answer(call, endpoint, fields).await,
        };
        self.record(&mut audited, reply).await
    }

    /// Records the reply once there is memory to send it: its line would say that it was sent.
    async fn record(
        &self,
        audited: &mut Audited<'_>,
        reply: Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let bytes = reply.as_ref().map_or(0, Reply::unheld);
        let held = self.node.bytes().take(bytes).await;
        let held = held.map_err(|Overloaded| ApiError::Overloaded.into());
        audited.response(held.and_then(|taken| reply.map(|reply| reply.holding(taken)))).await
    }
}

fn answer_stranger(
    stranger: NotAuthenticated,
    route: &Route<'_>,
    id: &str,
) -> Result<Reply, Refusal> {
    match (&route.target, &stranger) {
        (Ok(Endpoint::UiMounts), _) => Ok(handler::ui_mounts_for_nobody(id)),
        // As Vault, which takes any token for a wrapping token here.
        (_, NotAuthenticated::UnknownToken) if unwrapping(route).is_some() => {
            Err(ApiError::from(WrapFault::Invalid).into())
        }
        _ => Err(stranger.into()),
    }
}

/// What is asked for with a wrapping token, which may be the only one that comes with it.
fn unwrapping(route: &Route<'_>) -> Option<WrappingStep> {
    match route.target {
        Ok(Endpoint::Wrapping(step)) if step != WrappingStep::Wrap => Some(step),
        _ => None,
    }
}

/// A request as it came in: everything but its body.
#[derive(Clone, Copy)]
struct Received<'a> {
    parts: &'a Parts,
    id: &'a str,
    came: Instant,
}

/// What a request asks besides what is in its body.
struct RequestHead<'a> {
    route: &'a Route<'a>,
    query: Query<'a>,
    parts: &'a Parts,
}

impl<'a> RequestHead<'a> {
    fn into_fields<'b>(self, body: &'b [u8]) -> Result<Fields<'b>, ApiError>
    where
        'a: 'b,
    {
        let content_type = self.parts.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if self.has_body() {
            return Fields::parse(body, content_type);
        }
        Ok(Fields::from_query(self.query, self.route.operation == Operation::List))
    }

    /// What the fields are read from.
    fn whole<'b>(&self, body: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        let query = self.parts.uri.query().unwrap_or_default();
        if self.has_body() { body } else { query.as_bytes() }
    }

    const fn has_body(&self) -> bool {
        matches!(self.route.operation, Operation::Update | Operation::Patch)
    }
}

/// A request of whom nobody knows yet who sends it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    incoming: Incoming<'a>,
    credentials: Credentials<'a>,
    deployment: &'a Deployment,
    route: &'a Route<'a>,
}

impl<'a> Arrival<'a> {
    fn audited(&self, node: &'a Node, client: Option<&'a Client>) -> Audited<'a> {
        Audited::new(node, self.deployment, self.incoming, self.route, client)
    }
}

/// Who sends a request.
enum Sender {
    /// Whoever it is, the answer is this one.
    Answered(Reply),
    /// Somebody who asks to be logged in.
    Stranger(MethodPath),
    /// A known client.
    Client(Arc<Client>),
}

#[cfg(test)]
mod tests;
