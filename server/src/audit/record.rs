//! The two lines of a request, in the shape and the order of members of Vault's audit log.

use std::collections::BTreeMap;
use std::net::IpAddr;

use selkie_access::{PolicyName, TokenText};
use selkie_certificate::Fingerprint;
use selkie_crypto::AuditKey;
use selkie_listener::ShownCertificate;

pub(crate) use super::json::push_hash;
use super::json::{Object, json_length, push_number};
use super::known::{Hashes, KnownHashes};
use super::line::push_time;
use super::redact::{Hashed, MOST_BYTES, add_left_out, push_fitting, push_left_out, push_token};
use super::trail::KeyUse;
use crate::auth::{Client, Origin, tokens::TokenKind};

/// The most of a path or of a text about it that a line tells.
const MOST_TEXT_BYTES: usize = 2048;
/// The most of a name.
const MOST_NAME_BYTES: usize = 1024;
/// The most of a client's policies, which are told twice, and of its metadata.
const MOST_LIST_BYTES: usize = 4 << 10;
/// Where methods write down by which role somebody logged in.
const ROLE_NAMES: [&str; 3] = ["role_name", "role", "cert_name"];
/// The most of a line, without what the chain adds: it fits into any datagram, 65,507 bytes by UDP and
/// 64 KiB for rsyslog, whoever asks and whatever is asked for and answered.
const MOST_LINE_BYTES: usize = 60 << 10;
/// What is kept free of that for what comes behind the data of a reply: what stands for more that is
/// left out, a token with its long members left out, the use of a key, and the error.
const TAIL_BYTES: usize = 6 << 10;

/// What is asked, by whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// A UUID, also in the reply.
    pub(crate) id: &'a str,
    /// Vault's word for what is wanted of the path.
    pub(crate) operation: &'static str,
    /// The mount, with a final slash, and its type; empty where there is none.
    pub(crate) mount: (&'a str, &'static str),
    pub(crate) path: &'a str,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// As the client sent it.
    pub(crate) token: Option<&'a TokenText>,
    /// `None` for a stranger.
    pub(crate) client: Option<&'a Client>,
    /// What the connection has shown.
    pub(crate) certificate: Option<&'a ShownCertificate>,
}

/// A request's fields, the strings among them hashed, as the text of a JSON object.
#[derive(Debug, Default)]
pub(crate) struct Data(Vec<u8>);

/// What is answered.
#[derive(Debug, Default)]
pub(crate) struct Answered<'a> {
    /// Texts of JSON as they stand in the reply; `None` where that has none, or null.
    pub(crate) data: Option<&'a str>,
    pub(crate) auth: Option<&'a str>,
    pub(crate) wrap_info: Option<&'a str>,
    pub(crate) warnings: Option<&'a str>,
    /// Of a reply that is no JSON.
    pub(crate) content_type: Option<&'a str>,
    pub(crate) status: u16,
    /// What the client is told instead; empty if nothing went wrong.
    pub(crate) error: &'a str,
    pub(crate) key_use: Option<KeyUse>,
}

/// What both lines of a request say.
#[derive(Debug)]
pub(crate) struct Record {
    /// `"auth":{...},"request":{...}`
    common: Vec<u8>,
    mount: Vec<u8>,
}

impl Data {
    /// Begins with no field.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field whose value `push` writes.
    pub(crate) fn add(&mut self, name: &str, push: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        super::json::push_text(name, &mut self.0);
        self.0.push(b':');
        push(&mut self.0);
    }

    /// Whether it is more than a line tells.
    pub(crate) const fn is_too_much(&self) -> bool {
        self.0.len() > MOST_BYTES
    }

    /// What stands in its place then.
    pub(crate) fn left_out(whole: &[u8], key: &AuditKey) -> Self {
        let mut text = Vec::new();
        push_left_out(whole, key, &mut text);
        text.pop();
        Self(text)
    }
}

impl Record {
    pub(crate) fn new(asked: &Asked<'_>, data: &Data, known: &KnownHashes, key: &AuditKey) -> Self {
        let credentials = known.of(asked.client, asked.token, key);
        let mut common = Vec::with_capacity(2048);
        push_auth(asked.client, &credentials, key, &mut common);
        common.push(b',');
        push_request(asked, data, &credentials, &mut common);
        let mut mount = Vec::new();
        push_mount(asked.mount, &mut Object::begin(&mut mount));
        Self { common, mount }
    }

    /// The line before the operation, without its last brace. `left_out` is how many strangers came
    /// too fast to be recorded before this one.
    pub(crate) fn request_line(&self, unix_nanos: u128, error: &str, left_out: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.common.len().saturating_add(256));
        let mut line = self.begin("request", unix_nanos, &mut out);
        line.text("error", cut(error, MOST_TEXT_BYTES));
        if left_out > 0 {
            line.number("strangers_left_out", left_out);
        }
        out
    }

    /// The line before the reply, without its last brace.
    pub(crate) fn response_line(
        &self,
        unix_nanos: u128,
        answered: &Answered<'_>,
        key: &AuditKey,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.common.len().saturating_add(1024));
        let mut line = self.begin("response", unix_nanos, &mut out);
        let response = line.member("response");
        response.extend_from_slice(&self.mount);
        push_response(answered, self.mount.len() > 1, key, response);
        line.text("error", cut(answered.error, MOST_TEXT_BYTES));
        out
    }

    fn begin<'o>(&self, kind: &str, unix_nanos: u128, out: &'o mut Vec<u8>) -> Object<'o> {
        let mut line = Object::begin(out);
        push_time(unix_nanos, line.member("time"));
        line.text("type", kind);
        line.raw(&self.common);
        line
    }
}

fn push_auth(client: Option<&Client>, hashes: &Hashes, key: &AuditKey, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"auth\":");
    let mut auth = Object::begin(out);
    let Some(client) = client else {
        auth.text("token_type", "default");
        return auth.end();
    };
    if let Some(token) = &hashes.token {
        push_hash(token, auth.member("client_token"));
    }
    if let Some(accessor) = &hashes.accessor {
        push_hash(accessor, auth.member("accessor"));
    }
    auth.text("display_name", cut(client.name(), MOST_NAME_BYTES));
    push_policies(client, &mut auth);
    if !client.metadata().is_empty() {
        push_metadata(client.metadata(), key, auth.member("metadata"));
    }
    let kind = match &client.origin {
        Origin::Declared { .. } => Some(TokenKind::Service),
        Origin::Token(token) => Some(token.made.kind),
        Origin::Certificate { .. } => None,
    };
    if let Some(kind) = kind {
        auth.text("token_type", if kind == TokenKind::Batch { "batch" } else { "service" });
    }
    auth.end();
}

/// As many as there is room for, and how many are left out.
fn push_policies(client: &Client, auth: &mut Object<'_>) {
    let all = client.policies();
    let mut bytes = 0_usize;
    let fits = |name: &&PolicyName| {
        bytes = name.as_str().chars().map(json_length).fold(bytes + 3, usize::saturating_add);
        bytes <= MOST_LIST_BYTES
    };
    let told = all.iter().take_while(fits).count();
    let policies = || all.iter().take(told).map(PolicyName::as_str);
    auth.texts("policies", policies());
    auth.texts("token_policies", policies());
    let left_out = all.len().saturating_sub(told);
    if left_out > 0 {
        auth.number("policies_left_out", u64::try_from(left_out).unwrap_or(u64::MAX));
    }
}

fn push_metadata(metadata: &BTreeMap<String, String>, key: &AuditKey, out: &mut Vec<u8>) {
    let start = out.len();
    let mut told = Object::begin(out);
    for (name, value) in metadata {
        told.any_member(name, value);
    }
    told.end();
    if out.len().saturating_sub(start) <= MOST_LIST_BYTES {
        return;
    }
    let whole = out.split_off(start);
    let mut told = Object::begin(out);
    for name in ROLE_NAMES {
        let role = metadata.get(name).map_or("", String::as_str);
        told.text(name, cut(role, MOST_NAME_BYTES));
    }
    add_left_out(&whole, key, &mut told);
    told.end();
}

fn push_request(asked: &Asked<'_>, data: &Data, hashes: &Hashes, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"request\":");
    let mut request = Object::begin(out);
    request.text("id", asked.id);
    request.text("operation", asked.operation);
    push_mount(asked.mount, &mut request);
    if let Some(token) = &hashes.token {
        push_hash(token, request.member("client_token"));
    }
    if let Some(accessor) = &hashes.accessor {
        push_hash(accessor, request.member("client_token_accessor"));
    }
    request.member("namespace").extend_from_slice(b"{\"id\":\"root\"}");
    request.text("path", cut(asked.path, MOST_TEXT_BYTES));
    if !data.0.is_empty() {
        let member = request.member("data");
        member.extend_from_slice(&data.0);
        member.push(b'}');
    }
    request.text("remote_address", &asked.address.to_string());
    request.number("remote_port", u64::from(asked.port));
    if let Some(shown) = asked.certificate {
        push_certificate(shown, &mut request);
    }
    request.end();
}

fn push_mount((point, kind): (&str, &str), object: &mut Object<'_>) {
    object.text("mount_point", cut(point, MOST_NAME_BYTES));
    object.text("mount_type", kind);
}

/// Vault tells the serial number alone, which every CA gives anew.
fn push_certificate(shown: &ShownCertificate, request: &mut Object<'_>) {
    let read = shown.certificate();
    if let Ok(certificate) = &read {
        let serial = certificate.serial_digits();
        request.text("client_certificate_serial_number", cut(&serial, MOST_NAME_BYTES));
    }
    let mut told = request.object("client_certificate");
    match read {
        Ok(certificate) => {
            told.text("subject", cut(&certificate.subject, MOST_TEXT_BYTES));
            told.text("sha256", &certificate.fingerprint.to_string());
        }
        Err(_) => {
            let der = shown.chain().first().map(AsRef::as_ref).unwrap_or_default();
            told.text("sha256", &Fingerprint::of(der).to_string());
        }
    }
    told.end();
}

/// The rest of the object `response`, which begins with its mount. Of what is told as it stands in the
/// reply, each part has the room that those before it leave.
fn push_response(answered: &Answered<'_>, has_mount: bool, key: &AuditKey, out: &mut Vec<u8>) {
    let mut response = Object::resume(out, !has_mount);
    let room =
        |out: &Vec<u8>| (MOST_LINE_BYTES - TAIL_BYTES).saturating_sub(out.len()).min(MOST_BYTES);
    let push = |json: &str, hashed, out: &mut Vec<u8>| {
        push_fitting(json, hashed, key, out, room(out));
    };
    if let Some(auth) = answered.auth {
        let member = response.member("auth");
        push_token(auth, key, member, room(member));
    }
    if let Some(content_type) = answered.content_type {
        let mut data = response.object("data");
        data.text("http_content_type", content_type);
        data.number("http_status_code", u64::from(answered.status));
        data.end();
    }
    if let Some(data) = answered.data {
        push(data, Hashed::All, response.member("data"));
    }
    if let Some(wrap_info) = answered.wrap_info {
        let member = response.member("wrap_info");
        push_token(wrap_info, key, member, room(member));
    }
    if let Some(warnings) = answered.warnings {
        let is_short = warnings.len() <= MOST_TEXT_BYTES;
        let hashed = if is_short { Hashed::Tokens } else { Hashed::All };
        push(warnings, hashed, response.member("warnings"));
    }
    if let Some(used) = &answered.key_use {
        push_key_use(used, response.member("key_use"));
    }
    response.number("status", u64::from(answered.status));
    response.end();
}

fn push_key_use(used: &KeyUse, out: &mut Vec<u8>) {
    let mut told = Object::begin(out);
    told.text("key", &used.key);
    let versions = told.member("versions");
    for (index, version) in used.versions.iter().take(16).enumerate() {
        versions.push(if index == 0 { b'[' } else { b',' });
        push_number(u64::from(version.get()), versions);
    }
    versions.extend_from_slice(if used.versions.is_empty() { b"[]" } else { b"]" });
    told.texts("seals", used.seals.iter().take(16).map(|seal| seal.as_str()));
    told.number("encrypted", used.encrypted);
    told.number("decrypted", used.decrypted);
    told.number("failed", used.failed);
    if used.foreign > 0 {
        told.number("foreign", used.foreign);
    }
    if let Some(age) = used.oldest_age {
        told.number("oldest_envelope_age_seconds", age);
        told.truth("is_age_proven", used.is_age_proven);
    }
    told.end();
}

/// As much of `text` as JSON writes in `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most / 6 {
        return text;
    }
    let mut bytes = 0_usize;
    let mut characters = text.char_indices();
    let beyond = characters.find(|(_, character)| {
        bytes = bytes.saturating_add(json_length(*character));
        bytes > most
    });
    beyond.map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

#[cfg(test)]
mod tests;
