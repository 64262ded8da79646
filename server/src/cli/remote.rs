//! What commands ask of a running server.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri};
use selkie_kms::http::{HttpClientSettings, HttpError, HttpTimeouts};

use super::CommandError;
use super::status::{DEFAULT_ADDRESS, StatusError, client, token, variable};
use crate::backup::MAX_SNAPSHOT_BYTES;

/// A backup of the largest state, over a slow network.
const PATIENCE: Duration = Duration::from_secs(600);
/// A backup with its keys, lengths and tags.
const ANSWER_BYTES: usize = 2 * MAX_SNAPSHOT_BYTES;

#[derive(Debug, clap::Args)]
pub(super) struct Remote {
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

/// Why a running server did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The request cannot be made.
    #[error(transparent)]
    Request(#[from] StatusError),
    /// The server cannot be reached, or the answer is cut.
    #[error("the server cannot be reached")]
    Unreachable(#[from] HttpError),
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
    /// It has no storage, or it is not open.
    #[error("the server answers 503: it has no storage, its state is not open, or a seal is away")]
    NotOpen,
    /// It is no Selkie.
    #[error("the answer is none of Selkie's")]
    Unreadable,
}

/// A connection to a server, and the right to use it.
pub(super) struct Session {
    client: std::sync::Arc<selkie_kms::http::HttpClient>,
    address: String,
    token: HeaderValue,
}

impl Remote {
    pub(super) fn open(&self) -> Result<Session, CommandError> {
        let token = token(self.token_file.as_deref())?;
        let address = self.address.clone().or_else(|| variable("VAULT_ADDR"));
        let address = address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let ca_file = self.ca_file.clone().or_else(|| variable("VAULT_CACERT").map(Into::into));
        let scheme = ["https", "http"].into_iter();
        let mut scheme = scheme.filter(|scheme| address.starts_with(&format!("{scheme}://")));
        let scheme = scheme.next().ok_or(StatusError::NotAUrl)?;
        let timeouts = HttpTimeouts { answer: PATIENCE, ..HttpTimeouts::default() };
        let settings = HttpClientSettings {
            timeouts,
            answer_limit: ANSWER_BYTES,
            ..HttpClientSettings::default()
        };
        let client = client(scheme, ca_file.as_deref(), settings)?;
        Ok(Session { client, address: address.trim_end_matches('/').to_owned(), token })
    }
}

impl Session {
    /// The answer to GET, whatever its status.
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), RemoteError> {
        let url: Result<Uri, _> = format!("{}/v1/{path}", self.address).parse();
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.map_err(|_invalid| StatusError::NotAUrl)?;
        request.headers_mut().insert("x-vault-token", self.token.clone());
        let (head, body) = self.client.send(request).await?.into_parts();
        Ok((head.status, body))
    }

    /// The body of a successful answer to GET.
    pub(super) async fn fetch(
        &self,
        path: &str,
        right: &'static str,
    ) -> Result<Bytes, RemoteError> {
        match self.get(path).await? {
            (StatusCode::OK, body) => Ok(body),
            (StatusCode::SERVICE_UNAVAILABLE, _) => Err(RemoteError::NotOpen),
            (status, _) => Err(RemoteError::Refused { status, path: path.to_owned(), right }),
        }
    }
}
