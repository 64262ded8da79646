//! A real API server of Kubernetes, with service accounts and without nodes: nothing runs in it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificate::Authority;
use crate::etcd::Etcd;
use crate::http::{Client, Request};
use crate::peer::Peer;
use crate::port::free_port;
use crate::process::Process;
use crate::wait::until;

/// Whoever has it may do everything.
const ADMINISTRATOR: &str = "administrator-of-the-tests";

/// What stands in `iss` of its tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// The API server; its data go with this value.
#[derive(Debug)]
pub struct Kubernetes {
    /// The process; its log is the standard error output.
    pub process: Process,
    /// What proves its tokens, PEM.
    pub public_key: String,
    /// Whom its TLS certificate is from, PEM.
    pub ca: String,
    client: Client,
    _etcd: Etcd,
    _dir: TempDir,
}

impl Kubernetes {
    /// One that is ready; `None` if there is none here, or no etcd.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = Peer::KubeApiServer.find()? else { return Ok(None) };
        let Some(etcd) = Etcd::start()? else { return Ok(None) };
        let dir = tempfile::Builder::new().prefix("selkie-kubernetes-").tempdir()?;
        let (authority, key) = (Authority::new()?, KeyPair::generate()?);
        let (cert, cert_key) = authority.issue("apiserver")?.write(dir.path())?;
        let file = |name: &str| dir.path().join(name);
        let (signer, proof, tokens) = (file("signer.pem"), file("proof.pem"), file("tokens.csv"));
        fs::write(&signer, key.serialize_pem())?;
        fs::write(&proof, key.public_key_pem())?;
        fs::write(&tokens, format!("{ADMINISTRATOR},admin,admin,\"system:masters\"\n"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let shown = |path: &Path| path.display().to_string();
        let mut command = Command::new(program);
        command.env_clear().args([
            format!("--etcd-servers={}", etcd.url()),
            format!("--secure-port={}", address.port()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--tls-cert-file={}", shown(&cert)),
            format!("--tls-private-key-file={}", shown(&cert_key)),
            format!("--service-account-issuer={ISSUER}"),
            format!("--service-account-key-file={}", shown(&proof)),
            format!("--service-account-signing-key-file={}", shown(&signer)),
            format!("--api-audiences={ISSUER}"),
            format!("--token-auth-file={}", shown(&tokens)),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        ]);
        let client = Client { tls: Some(authority.trusted()?), ..Client::plain(address) };
        let server = Self {
            process: Process::start(command)?,
            public_key: key.public_key_pem(),
            ca: authority.certificate().to_owned(),
            client,
            _etcd: etcd,
            _dir: dir,
        };
        server.ready()?;
        Ok(Some(server))
    }

    fn ready(&self) -> Result<()> {
        let is_ready = || {
            let answer = self.client.send(bearing(Request::absolute("GET", "/readyz")));
            Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
        };
        until("the API server is ready", is_ready).with_context(|| self.process.stderr().join("\n"))
    }

    /// What stands in `kubernetes_host`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.client.address)
    }

    /// Makes something, as the administrator.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub fn create(&self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::absolute("POST", path).header("Content-Type", "application/json");
        let answer = self.client.send(bearing(request.json(body)))?;
        ensure!(matches!(answer.status, 200 | 201), "{path}: {}", answer.text());
        Ok(answer.json())
    }

    /// Makes a service account and the namespace that it is in.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub fn account(&self, namespace: &str, name: &str) -> Result<()> {
        let made = Request::absolute("GET", &format!("/api/v1/namespaces/{namespace}"));
        if self.client.send(bearing(made))?.status == 404 {
            self.create("/api/v1/namespaces", &json!({ "metadata": { "name": namespace } }))?;
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.create(&path, &json!({ "metadata": { "name": name } }))?;
        Ok(())
    }

    /// Deletes a service account: the tokens that it has are good no more.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub fn delete_account(&self, namespace: &str, name: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        let answer = self.client.send(bearing(Request::absolute("DELETE", &path)))?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    }

    /// A token of a service account for this audience, as a pod has it projected; empty: for the
    /// API server itself.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub fn token(&self, namespace: &str, name: &str, audience: &str) -> Result<String> {
        let audience = if audience.is_empty() { ISSUER } else { audience };
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let wanted = json!({ "spec": { "audiences": [audience], "expirationSeconds": 600 } });
        let made = self.create(&path, &wanted)?;
        made["status"]["token"].as_str().map(str::to_owned).context("no token")
    }

    /// Lets a service account ask whether tokens are good.
    ///
    /// # Errors
    ///
    /// If the API server refuses.
    pub fn make_reviewer(&self, namespace: &str, name: &str) -> Result<()> {
        let binding = json!({
            "metadata": { "name": format!("{namespace}-{name}") },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": name }],
        });
        self.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding)?;
        Ok(())
    }
}

fn bearing(request: Request) -> Request {
    request.header("Authorization", &format!("Bearer {ADMINISTRATOR}"))
}
