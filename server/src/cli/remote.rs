//! Asking a running server, as the commands do that need one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use selkie_config::{ExposedFile, Sources, SystemSources};
use selkie_kms::http::{
    ClientCertificate, ClientCertificateError, HttpClient, HttpClientSettings, HttpError,
    HttpReason, HttpSetupError, HttpTimeouts, Roots,
};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::CommandError;
use super::terminal::printable;
use crate::backup::MAX_SNAPSHOT_BYTES;

const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
/// What Vault's API says to who has no right, and to who is nobody.
const DENIED: &str = "permission denied";
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
    /// A certificate to show to a server that asks for one, as PEM; by default that of
    /// VAULT_CLIENT_CERT.
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Its key, as PEM; by default that of VAULT_CLIENT_KEY.
    #[arg(long, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// The name to ask for, and to find in the server's certificate, in place of the address's; by
    /// default that of VAULT_TLS_SERVER_NAME.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
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
        /// The error behind it.
        source: rustls_pki_types::pem::Error,
    },
    /// The client cannot be made.
    #[error("the connection cannot be prepared")]
    Setup(#[from] HttpSetupError),
    /// No certificate can have the name.
    #[error(
        "{0:?} is no name that a server's certificate can have: correct --tls-server-name (or VAULT_TLS_SERVER_NAME)"
    )]
    UnfitServerName(String),
    /// The client's certificate, or its key, is not given.
    #[error(
        "a client certificate needs its key: give both, --client-cert and --client-key (or \
         VAULT_CLIENT_CERT and VAULT_CLIENT_KEY)"
    )]
    HalfAnIdentity,
    /// The client's certificate cannot be used.
    #[error("the client certificate cannot be used")]
    Identity(#[from] ClientCertificateError),
    /// Others may read or change the key of the client's certificate.
    #[error("{0}")]
    ExposedKey(ExposedFile),
    /// It speaks something else, probably TLS.
    #[error("what answers is not HTTP: if the server speaks TLS, its address begins with https://")]
    NotHttp(#[source] HttpError),
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] HttpError),
    /// It did not answer.
    #[error("the server did not answer in time")]
    TimedOut,
    /// It lets nobody in who has no right to it.
    #[error(
        "the server answers 403 Forbidden: the token is unknown or has ended, or it lacks {right} \
         on {path}"
    )]
    Denied {
        /// What was asked for.
        path: String,
        /// What a policy must grant for it.
        right: &'static str,
    },
    /// It refuses, and says why.
    #[error("the server answers {status}: {}", told(*status, texts))]
    Told {
        /// With this.
        status: StatusCode,
        /// In these words.
        texts: Vec<String>,
    },
    /// It answers no request, and says why to everybody.
    #[error("the server refuses every request: {0}")]
    Refuses(String),
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

impl RemoteError {
    /// Whether the command line is wrong, or what stands in the environment for a part of it.
    pub(super) const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NotAUrl | Self::NothingNamed | Self::HalfAnIdentity | Self::UnfitServerName(_)
        )
    }
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
        let file = |given: &Option<PathBuf>, name| {
            given.clone().or_else(|| variable(name).map(PathBuf::from))
        };
        let ca_file = file(&arguments.ca_file, "VAULT_CACERT");
        let certificate = file(&arguments.client_cert, "VAULT_CLIENT_CERT");
        let key = file(&arguments.client_key, "VAULT_CLIENT_KEY");
        let url: Uri = address.parse().map_err(|_invalid| RemoteError::NotAUrl)?;
        let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or(RemoteError::NotAUrl)?;
        // Vault's programs leave the two alone as well where there is no TLS.
        let identity = match scheme {
            "https" => identity(certificate.as_deref(), key.as_deref())?,
            _ => None,
        };
        let server_name = arguments.tls_server_name.clone();
        let server_name = server_name.or_else(|| variable("VAULT_TLS_SERVER_NAME"));
        let server_name = server_name.map(server_name_of).transpose()?;
        let tls = HttpClientSettings {
            client_certificate: identity,
            server_name,
            ..HttpClientSettings::default()
        };
        let client = client(scheme, ca_file.as_deref(), tls, patience)?;
        Ok(Self { client, address, token, patience })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
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
            (status, body) => Err(refused(status, &body, path, right)),
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
            (status, body) => Err(refused(status, &body, path, right)),
        }
    }

    /// What the server answers to `body`; null if it has nothing to say. Why it refuses is told in
    /// its own words, unless the token lacks `right`.
    pub(super) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        right: &'static str,
    ) -> Result<Value, RemoteError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|_unprintable| RemoteError::Unreadable)?.unwrap_or_default();
        let (status, answer) = self.send_body(method, path, body.into()).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|_not_json| RemoteError::Unreadable);
        }
        Err(refused(status, &answer, path, right))
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
        let answer = answer.map_err(|_elapsed| RemoteError::TimedOut)?;
        let (head, body) = answer.map_err(|error| self.unanswered(error))?.into_parts();
        Ok((head.status, body))
    }

    fn unanswered(&self, error: HttpError) -> RemoteError {
        let is_plain = self.address.starts_with("http://");
        match error.reason {
            HttpReason::NotHttp(_) if is_plain => RemoteError::NotHttp(error),
            _ => RemoteError::Unreachable(error),
        }
    }
}

fn refused(status: StatusCode, body: &[u8], path: &str, right: &'static str) -> RemoteError {
    let json = serde_json::from_slice::<Value>(body).ok();
    let texts = errors(json.as_ref());
    // Other texts of a 403 are about the token that a request names ("bad token").
    let is_denial = texts.is_empty() || texts.iter().any(|text| text.contains(DENIED));
    if status == StatusCode::FORBIDDEN && is_denial {
        let path = path.split('?').next().unwrap_or(path).to_owned();
        return RemoteError::Denied { path, right };
    }
    RemoteError::Told { status, texts }
}

/// The server's own words.
fn errors(answer: Option<&Value>) -> Vec<String> {
    let errors = answer.and_then(|json| json["errors"].as_array());
    let texts = errors.into_iter().flatten().filter_map(Value::as_str).map(str::trim);
    texts.map(printable).collect()
}

fn told(status: StatusCode, texts: &[String]) -> String {
    let texts = if texts.is_empty() { "no reason is given".to_owned() } else { texts.join("; ") };
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => format!("{texts}; the server's log tells why"),
        _ => texts,
    }
}

/// Whom the client is for a server that asks.
fn identity(
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Result<Option<Arc<ClientCertificate>>, RemoteError> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(RemoteError::HalfAnIdentity),
    };
    if let Some(exposure) = SystemSources.exposure(key) {
        let path = key.to_owned();
        return Err(RemoteError::ExposedKey(ExposedFile { path, exposure }));
    }
    Ok(Some(ClientCertificate::from_files(certificate, key)?))
}

fn server_name_of(name: String) -> Result<ServerName<'static>, RemoteError> {
    ServerName::try_from(name.clone()).map_err(|_unfit| RemoteError::UnfitServerName(name))
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
    tls: HttpClientSettings,
    patience: Duration,
) -> Result<Arc<HttpClient>, RemoteError> {
    let timeouts = HttpTimeouts { answer: patience, ..HttpTimeouts::default() };
    let settings = HttpClientSettings { timeouts, answer_limit: ANSWER_BYTES, ..tls };
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

#[cfg(test)]
mod tests;
