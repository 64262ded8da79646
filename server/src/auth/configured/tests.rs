//! A method by itself, with a store, a clock and an outside that the test decides.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use selkie_config::{DeclaredAuth, DeclaredMethod};
use selkie_storage::MemoryStore;
use serde_json::{Value, json};

use super::*;
use crate::auth::Credentials;
use crate::auth::jwt::tests::signer::NOW;
use crate::auth::methods::{DeclaredMounts, MountSource, Outcome, Tools};
use crate::clock::Clock;

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn unix_seconds(&self) -> u64 {
        NOW
    }
}

pub(crate) struct Bench<C: Configured> {
    pub(crate) method: ConfiguredMethod<C>,
    records: Records,
    mount: Arc<AuthMount>,
    pub(crate) address: IpAddr,
}

impl<C: Configured> Bench<C> {
    /// Mounted through the API.
    pub(crate) async fn managed(way: C, declared: DeclaredMethod) -> Self {
        let mut bench = Self::declared(way, declared).await;
        let mut mount = (*bench.mount).clone();
        mount.source = MountSource::Managed;
        bench.mount = Arc::new(mount);
        bench
    }

    pub(crate) async fn declared(way: C, declared: DeclaredMethod) -> Self {
        let method = ConfiguredMethod::new(way);
        let records = Records::new(true, method.mirrors(), Arc::new(crate::clock::SystemClock));
        records.attach(Arc::new(MemoryStore::new())).await.unwrap();
        let declared = DeclaredAuth {
            path: "login".parse().unwrap(),
            description: String::new(),
            default_lease_ttl: None,
            max_lease_ttl: None,
            at: "selkie.hcl:7:1".into(),
            method: declared,
        };
        let mount = Arc::clone(DeclaredMounts::new(vec![declared]).iter().next().unwrap());
        Self { method, records, mount, address: Ipv4Addr::LOCALHOST.into() }
    }

    pub(crate) fn mount(&self) -> &AuthMount {
        &self.mount
    }

    pub(crate) async fn ask(
        &self,
        rest: &str,
        operation: Operation,
        body: &Value,
    ) -> Result<MethodReply, MethodError> {
        let body = body.to_string();
        let mut fields = Fields::parse(body.as_bytes(), Some("application/json")).unwrap();
        let random = |_bytes: &mut [u8]| Ok(());
        let credentials = Credentials { token: None, certificate: None, address: self.address };
        let (records, clock) = (&self.records, &Stopped);
        let tools = Tools { records, state_key: None, clock, token_time: None, random: &random };
        let request = MethodRequest {
            mount: &self.mount,
            rest,
            operation,
            fields: &mut fields,
            credentials,
            tools,
            room: None,
        };
        let reply = self.method.answer(request).await?;
        let unknown = fields.into_warnings(&["name"]);
        assert!(unknown.is_empty(), "{unknown:?}");
        Ok(reply)
    }

    pub(crate) async fn write(&self, rest: &str, body: Value) -> Result<Vec<String>, String> {
        let written = self.ask(rest, Operation::Update, &body).await;
        written.map(|reply| reply.warnings).map_err(|error| error.to_string())
    }

    pub(crate) async fn read(&self, rest: &str) -> Value {
        match self.ask(rest, Operation::Read, &json!({})).await.unwrap().outcome {
            Outcome::Data(data) => serde_json::to_value(data).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        match self.ask("role/", Operation::List, &json!({})).await.unwrap().outcome {
            Outcome::Keys(keys) => keys,
            other => panic!("{other:?}"),
        }
    }

    /// A login's result, or what kind of answer it gets, with which words.
    pub(crate) async fn log_in(&self, body: Value) -> Result<Login, (AnswerKind, String)> {
        match self.ask("login", Operation::Update, &body).await {
            Ok(MethodReply { outcome: Outcome::Login(login), .. }) => Ok(*login),
            Err(MethodError::Refused { kind, told, .. }) => Err((kind, told.to_string())),
            other => panic!("{other:?}"),
        }
    }
}

/// A refusal that a test expects.
pub(crate) fn refusal<T>(kind: AnswerKind, text: &str) -> Result<T, (AnswerKind, String)> {
    Err((kind, text.to_owned()))
}
