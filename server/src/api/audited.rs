//! The audit lines of one request (invariant I8).

use std::net::IpAddr;
use std::sync::Arc;

use selkie_access::TokenText;
use selkie_crypto::AuditKey;
use selkie_listener::ConnectionInfo;

use super::call::Refusal;
use super::error::ApiError;
use super::fields::Fields;
use super::logged::abridged;
use super::members::Value;
use super::reply::Reply;
use super::route::{Endpoint, Operation, Route};
use crate::audit::record::{Answered, Asked, Data, Record};
use crate::audit::redact::{Hashed, members, push_redacted};
use crate::audit::{Audit, KeyEvent, KeyUse, NotRecorded, Trail};
use crate::auth::Client;
use crate::deployment::Deployment;
use crate::node::Node;
use crate::takeover::{Pair, Usage};

/// What a line says instead of an answer, of a request that ended without one.
const HUNG_UP: &str = "cut off before the reply: the client hung up, or the server ended; a change \
                       that had begun goes on";
const PANICKED: &str = "cut off before the reply: the request panicked";

/// A request whose lines are still to be written. One that is dropped between them has its second
/// line all the same, which says that it was cut off.
#[derive(Debug)]
pub(super) struct Audited<'a> {
    node: &'a Node,
    asked: Asked<'a>,
    endpoint: Option<&'static str>,
    /// Known from the beginning: a reload may declare the first device meanwhile.
    is_recorded: bool,
    /// There from the line before the operation to the one before the reply.
    record: Option<Record>,
    /// `None` where nobody will read what the engine does, and once it was told.
    pub(super) trail: Option<Arc<Trail>>,
}

/// What a request brings of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming<'a> {
    pub(super) id: &'a str,
    pub(super) connection: &'a ConnectionInfo,
    pub(super) address: IpAddr,
    pub(super) token: Option<&'a TokenText>,
}

impl<'a> Audited<'a> {
    /// `client` is `None` for a stranger.
    pub(super) fn new(
        node: &'a Node,
        deployment: &'a Deployment,
        incoming: Incoming<'a>,
        route: &'a Route<'a>,
        client: Option<&'a Client>,
    ) -> Self {
        let Incoming { id, connection, address, token, .. } = incoming;
        let shown = connection.tls.as_ref().and_then(|tls| tls.client.as_deref());
        let is_recorded = node.audit().key().is_some();
        let is_read = is_recorded
            || node.audit().events().is_watched()
            || deployment.takeovers.iter().next().is_some();
        let asked = Asked {
            id,
            operation: operation(route.operation),
            mount: if is_recorded { mount(&route.path, deployment) } else { ("", "") },
            path: &route.path,
            address,
            port: connection.peer.port(),
            token,
            client,
            certificate: shown,
        };
        let endpoint = route.target.as_ref().ok().map(Endpoint::name);
        let trail = is_read.then(Arc::default);
        Self { node, asked, endpoint, is_recorded, record: None, trail }
    }

    /// Writes the line that comes before the operation. `whole` is what the fields were read from.
    pub(super) async fn request(
        &mut self,
        fields: Option<&Fields<'_>>,
        whole: &[u8],
    ) -> Result<(), ApiError> {
        let audit = self.node.audit();
        let Some(key) = audit.key().filter(|_| self.is_recorded) else { return Ok(()) };
        let data = fields.map_or_else(Data::new, |fields| data(fields, whole, key));
        let path = self.told_path();
        let asked = Asked { path: &path, ..self.asked };
        let record = Record::new(&asked, &data, audit.known(), key);
        let line = record.request_line(audit.unix_nanos(), "", 0);
        self.begin(record, line).await
    }

    async fn begin(&mut self, record: Record, line: Vec<u8>) -> Result<(), ApiError> {
        // Before it waits: whoever hangs up meanwhile does not take the line back.
        self.record = Some(record);
        let written = write(self.node.audit(), line).await;
        if written.is_err() {
            // Nothing will be done, so that nothing is to be told of it.
            self.record = None;
        }
        written
    }

    /// The same for a stranger who logs in. Beyond so many logins in a second nobody is logged in,
    /// recorded or not: none gets in without a record, none fills a disk, and none tries secrets
    /// faster than that.
    pub(super) async fn login(
        &mut self,
        fields: &Fields<'_>,
        whole: &[u8],
    ) -> Result<(), ApiError> {
        let audit = self.node.audit();
        if !audit.admit_login(self.asked.address) {
            return Err(ApiError::Overloaded);
        }
        self.request(Some(fields), whole).await
    }

    /// Writes the line that comes before the reply, which leaves only then.
    pub(super) async fn response(
        &mut self,
        outcome: Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let audit = self.node.audit();
        let status = outcome.as_ref().map_or_else(Refusal::status, Reply::status).as_u16();
        let key_use = self.note_use(status);
        // Taken: from here on this is the line, also if nobody waits for it any more.
        let (Some(key), Some(record)) = (audit.key(), self.record.take()) else { return outcome };
        let error = outcome.as_ref().err().map(Refusal::told).unwrap_or_default();
        let answered = Answered { status, error: &error, key_use, ..Answered::default() };
        let line = match &outcome {
            Err(_) => record.response_line(audit.unix_nanos(), &answered, key),
            Ok(reply) => {
                let answered = match reply.json() {
                    Some(body) => with_body(body, answered),
                    None => Answered { content_type: reply.other_content_type(), ..answered },
                };
                record.response_line(audit.unix_nanos(), &answered, key)
            }
        };
        write(audit, line).await?;
        outcome
    }

    /// Both lines of a stranger, of whom only so many a second are recorded: nothing was done, and
    /// nobody without a token fills a disk.
    pub(super) async fn stranger(
        mut self,
        outcome: Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let audit = self.node.audit();
        let Some(key) = audit.key().filter(|_| self.is_recorded) else { return outcome };
        let Some(left_out) = audit.admit_stranger() else { return outcome };
        let path = abridged(self.asked.path).into_owned();
        // His token is not hashed: it may be that of another cluster, and none of our business.
        let asked = Asked { path: &path, token: None, ..self.asked };
        let record = Record::new(&asked, &Data::new(), audit.known(), key);
        let error = outcome.as_ref().err().map(Refusal::told).unwrap_or_default();
        let line = record.request_line(audit.unix_nanos(), &error, left_out);
        self.begin(record, line).await?;
        self.response(outcome).await
    }

    /// Tells others what the engine did for it, once.
    fn note_use(&mut self, status: u16) -> Option<KeyUse> {
        let key_use = self.trail.take().and_then(|trail| trail.key_use());
        self.note_takeover(key_use.as_ref());
        self.tell_watchers(key_use.as_ref(), status);
        key_use
    }

    /// In full only for what is an endpoint of ours: behind others old clients put tokens.
    fn told_path(&self) -> String {
        match self.endpoint {
            Some(_) => self.asked.path.to_owned(),
            None => abridged(self.asked.path).into_owned(),
        }
    }

    /// Keeps the evidence of what was opened with a key that is taken over.
    fn note_takeover(&self, used: Option<&KeyUse>) {
        let (Some(client), Some(used)) = (self.asked.client, used) else { return };
        if !self.node.deployment().takeovers.names(&used.key) {
            return;
        }
        if let Some(usage) = Usage::of(used, self.node.clock().unix_seconds()) {
            let client = crate::alerts::identity(client);
            let pair = Pair { key: used.key.as_str().into(), client };
            self.node.evidence().note(pair, usage);
        }
    }

    fn tell_watchers(&self, used: Option<&KeyUse>, status: u16) {
        let events = self.node.audit().events();
        let (Some(client), true) = (self.asked.client, events.is_watched()) else { return };
        let Some(used) = used.cloned() else { return };
        events.tell(KeyEvent {
            time: self.node.clock().unix_seconds(),
            request_id: self.asked.id.to_owned(),
            operation: self.endpoint.unwrap_or("none"),
            client: client.name().into(),
            identity: crate::alerts::identity(client),
            accessor: client.accessor().into(),
            address: self.asked.address,
            used,
            status,
        });
    }
}

impl Drop for Audited<'_> {
    fn drop(&mut self) {
        let audit = self.node.audit();
        // Without an audit device there is no record, and others are told all the same.
        let key_use = self.note_use(0);
        let (Some(key), Some(record)) = (audit.key(), self.record.take()) else { return };
        let error = if std::thread::panicking() { PANICKED } else { HUNG_UP };
        let answered = Answered { error, key_use, ..Answered::default() };
        audit.leave(record.response_line(audit.unix_nanos(), &answered, key));
    }
}

async fn write(audit: &Audit, line: Vec<u8>) -> Result<(), ApiError> {
    audit.record(line).await.map_err(|NotRecorded| ApiError::AuditFailed)
}

const fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::List => "list",
        Operation::Update => "update",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
        Operation::Header => "header",
        Operation::Options => "options",
    }
}

/// The mount that `path` begins with, with its final slash, and its type.
fn mount<'p>(path: &'p str, deployment: &Deployment) -> (&'p str, &'static str) {
    let up_to = |slashes: usize| {
        let end = path.match_indices('/').nth(slashes - 1).map_or(path.len(), |(at, _)| at + 1);
        path.get(..end).unwrap_or_default()
    };
    match path.split('/').next() {
        Some("sys") => (up_to(1), "system"),
        Some("auth") => (up_to(2), if path.starts_with("auth/token/") { "token" } else { "" }),
        _ => deployment.mounts.split(path).map_or(("", ""), |(_, rest)| {
            let length = path.len().saturating_sub(rest.len());
            (path.get(..length).unwrap_or_default(), "transit")
        }),
    }
}

fn data(fields: &Fields<'_>, whole: &[u8], key: &AuditKey) -> Data {
    let mut data = Data::new();
    for (name, value) in fields.members() {
        data.add(name, |out| push_value(value, key, out));
        if data.is_too_much() {
            return Data::left_out(whole, key);
        }
    }
    data
}

fn push_value(value: &Value<'_>, key: &AuditKey, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Repeated => out.extend_from_slice(b"null"),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        // As in Vault, whose JSON parser keeps a number as its digits.
        Value::Number(digits) => {
            crate::audit::record::push_hash(&key.value_hash(digits.as_bytes()), out);
        }
        Value::Text(text) => {
            let hash = key.value_hash(text.expose_to_decode().as_bytes());
            crate::audit::record::push_hash(&hash, out);
        }
        Value::Array(json) | Value::Object(json) => {
            push_redacted(json.get(), Hashed::Request, key, out);
        }
    }
}

/// `answered` with the members of the reply `body` that a line tells of, as they stand in it.
fn with_body<'r>(body: &'r [u8], mut answered: Answered<'r>) -> Answered<'r> {
    for (name, value) in members(str::from_utf8(body).unwrap_or_default()) {
        let member = match name {
            "data" => &mut answered.data,
            "auth" => &mut answered.auth,
            "wrap_info" => &mut answered.wrap_info,
            "warnings" => &mut answered.warnings,
            _ => continue,
        };
        *member = Some(value).filter(|value| *value != "null");
    }
    answered
}
