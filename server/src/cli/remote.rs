//! Asking a running server, as the commands do that need one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_config::{Sources, SystemSources};
use selkie_kms::http::{
    HttpClient, HttpClientSettings, HttpError, HttpSetupError, HttpTimeouts, Roots,
};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::CommandError;
use crate::backup::MAX_SNAPSHOT_BYTES;

const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
/// The largest answer is a backup with its keys, lengths and tags.
const ANSWER_BYTES: usize = 2 * MAX_SNAPSHOT_BYTES;

#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// The server's URL; by default that of VAULT_ADDR, else https://127.0.0.1:8200.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The only authorities to trust, as PEM; by default those of VAULT_CACERT, else the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file with the token; by default VAULT_TOKEN is taken.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why a server does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is no URL of a server.
    #[error("the address is no URL that begins with \"https://\" or \"http://\"")]
    NotAUrl,
    /// There is no token.
    #[error("there is no token: set VAULT_TOKEN or --token-file")]
    NoToken,
    /// The token cannot be one.
    #[error("the token cannot be sent: it must be one line of visible characters")]
    UnfitToken,
    /// The authorities cannot be read.
    #[error("{}: no certificates in PEM there", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The client cannot be made.
    #[error("the connection cannot be prepared")]
    Setup(#[from] HttpSetupError),
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[from] HttpError),
    /// It did not answer.
    #[error("the server did not answer in time")]
    TimedOut,
    /// It refuses.
    #[error("the server answers {status}: does the token have {right} on {path}?")]
    Refused {
        /// With this.
        status: StatusCode,
        /// What was asked for.
        path: String,
        /// What a policy must grant for it.
        right: &'static str,
    },
    /// It refuses, and says why.
    #[error("the server answers {status}: {}", texts.join("; "))]
    Told {
        /// With this.
        status: StatusCode,
        /// In these words.
        texts: Vec<String>,
    },
    /// What it asks itself is away.
    #[error("the server reaches no master key, or the old server is away")]
    MasterKeyAway,
    /// What it asks itself refuses it.
    #[error("the old server, or the master key, refuses the server; its log tells what to mend")]
    MasterKeyRefuses,
    /// Nothing says which token is meant.
    #[error("which token? give it, --accessor, or --self")]
    NothingNamed,
    /// It has no storage, or it is not open.
    #[error("the server answers 503: it has no storage, its state is not open, or a seal is away")]
    NotOpen,
    /// It is no Selkie.
    #[error("the answer is none of Selkie's")]
    Unreadable,
}

/// A server, and the token to ask it with.
pub(super) struct Remote {
    client: Arc<HttpClient>,
    address: String,
    token: HeaderValue,
    patience: Duration,
}

impl Remote {
    /// The server of `arguments`, each request to which may take `patience`.
    pub(super) fn of(
        arguments: &ServerArguments,
        patience: Duration,
    ) -> Result<Self, CommandError> {
        let token = token(arguments.token_file.as_deref())?;
        let address = arguments.address.clone().or_else(|| variable("VAULT_ADDR"));
        let address = address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let address = address.trim_end_matches('/').to_owned();
        let ca_file = arguments.ca_file.clone();
        let ca_file = ca_file.or_else(|| variable("VAULT_CACERT").map(PathBuf::from));
        let url: Uri = address.parse().map_err(|_invalid| RemoteError::NotAUrl)?;
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or(RemoteError::NotAUrl)?;
        let client = client(scheme, ca_file.as_deref(), patience)?;
        Ok(Self { client, address, token, patience })
    }

    /// What the server answers on `path`, as JSON; the token needs `right` for it.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        right: &'static str,
    ) -> Result<Value, RemoteError> {
        match self.send(method, path).await? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).map_err(|_not_json| RemoteError::Unreadable)
            }
            (status, _) => Err(refused(status, path, right)),
        }
    }

    /// The body of a successful answer to GET, of what there is only while the state is open.
    pub(super) async fn fetch(
        &self,
        path: &str,
        right: &'static str,
    ) -> Result<Bytes, RemoteError> {
        match self.send(Method::GET, path).await? {
            (StatusCode::OK, body) => Ok(body),
            (StatusCode::SERVICE_UNAVAILABLE, _) => Err(RemoteError::NotOpen),
            (status, _) => Err(refused(status, path, right)),
        }
    }

    /// What the server answers to `body`; null if it has nothing to say. Why it refuses is told in
    /// its own words.
    pub(super) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RemoteError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|_unprintable| RemoteError::Unreadable)?.unwrap_or_default();
        let (status, answer) = self.send_body(method, path, body.into()).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let json = serde_json::from_slice::<Value>(&answer).ok();
        if status.is_success() {
            return json.ok_or(RemoteError::Unreadable);
        }
        let errors = json.as_ref().and_then(|json| json["errors"].as_array());
        let texts = errors.into_iter().flatten().filter_map(Value::as_str).map(str::trim);
        Err(RemoteError::Told { status, texts: texts.map(ToOwned::to_owned).collect() })
    }

    /// The answer, whatever its status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), RemoteError> {
        self.send_body(method, path, Bytes::new()).await
    }

    async fn send_body(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), RemoteError> {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|_invalid| RemoteError::NotAUrl)?;
        request.headers_mut().insert("x-vault-token", self.token.clone());
        let answer = timeout(self.patience, self.client.send(request)).await;
        let (head, body) = answer.map_err(|_elapsed| RemoteError::TimedOut)??.into_parts();
        Ok((head.status, body))
    }
}

fn refused(status: StatusCode, path: &str, right: &'static str) -> RemoteError {
    let path = path.split('?').next().unwrap_or(path).to_owned();
    RemoteError::Refused { status, path, right }
}

fn variable(name: &str) -> Option<String> {
    let value = SystemSources.variable(name).filter(|value| !value.is_empty())?;
    String::from_utf8(value.to_vec()).ok()
}

fn token(file: Option<&Path>) -> Result<HeaderValue, CommandError> {
    let text = match file {
        Some(path) => SystemSources
            .secret_file(path)
            .map_err(|source| CommandError::Unreadable { path: path.to_owned(), source })?,
        None => SystemSources.variable("VAULT_TOKEN").ok_or(RemoteError::NoToken)?,
    };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.trim_ascii().to_vec());
    let unfit = |_unprintable| RemoteError::UnfitToken;
    let mut token = HeaderValue::from_bytes(&text).map_err(unfit)?;
    token.set_sensitive(true);
    Ok(token)
}

fn client(
    scheme: &str,
    ca_file: Option<&Path>,
    patience: Duration,
) -> Result<Arc<HttpClient>, RemoteError> {
    let timeouts = HttpTimeouts { answer: patience, ..HttpTimeouts::default() };
    let settings = HttpClientSettings {
        timeouts,
        answer_limit: ANSWER_BYTES,
        ..HttpClientSettings::default()
    };
    if scheme == "http" {
        return Ok(HttpClient::plain(settings)?);
    }
    let roots = match ca_file {
        None => Roots::System,
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let refused = |source| RemoteError::Authorities { path: path.to_owned(), source };
            Roots::Given(read.map_err(refused)?)
        }
    };
    Ok(HttpClient::https(HttpClientSettings { roots, ..settings })?)
}
