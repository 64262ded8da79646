//! `selkie status`: what a running server knows of its master keys.

mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_config::{Sources, SystemSources};
use selkie_kms::http::{HttpClient, HttpClientSettings, HttpError, HttpSetupError, Roots};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::table::{Told, told};
use super::{CommandError, print};

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The server's URL; by default that of VAULT_ADDR, else https://127.0.0.1:8200.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The only authorities to trust, as PEM; by default those of VAULT_CACERT, else the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file with the token; by default VAULT_TOKEN is taken. It needs read on
    /// sys/seal-backend-status.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why there is no status to print.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
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
    #[error("the server answers {status}: does the token have read on sys/seal-backend-status?")]
    Refused {
        /// With this.
        status: StatusCode,
    },
    /// It is no Selkie.
    #[error("the answer is none of Selkie's")]
    Unreadable,
}

pub(super) fn run(arguments: Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let token = token(arguments.token_file.as_deref())?;
    let address = arguments.address.or_else(|| variable("VAULT_ADDR"));
    let address = address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let ca_file = arguments.ca_file.or_else(|| variable("VAULT_CACERT").map(PathBuf::from));
    let asked = async { timeout(PATIENCE, ask(&address, ca_file.as_deref(), token)).await };
    let status = runtime.block_on(asked).unwrap_or(Err(StatusError::TimedOut))?;
    let Told { text, in_need } = told(&status);
    print(output, &text)?;
    if in_need.is_empty() { Ok(()) } else { Err(CommandError::NeedsAttention) }
}

pub(super) fn variable(name: &str) -> Option<String> {
    let value = SystemSources.variable(name).filter(|value| !value.is_empty())?;
    String::from_utf8(value.to_vec()).ok()
}

pub(super) fn token(file: Option<&Path>) -> Result<HeaderValue, CommandError> {
    let text = match file {
        Some(path) => SystemSources
            .secret_file(path)
            .map_err(|source| CommandError::Unreadable { path: path.to_owned(), source })?,
        None => SystemSources.variable("VAULT_TOKEN").ok_or(StatusError::NoToken)?,
    };
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.trim_ascii().to_vec());
    let unfit = |_unprintable| StatusError::UnfitToken;
    let mut token = HeaderValue::from_bytes(&text).map_err(unfit)?;
    token.set_sensitive(true);
    Ok(token)
}

pub(super) fn client(
    scheme: &str,
    ca_file: Option<&Path>,
    settings: HttpClientSettings,
) -> Result<Arc<HttpClient>, StatusError> {
    if scheme == "http" {
        return Ok(HttpClient::plain(settings)?);
    }
    let roots = match ca_file {
        None => Roots::System,
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let refused = |source| StatusError::Authorities { path: path.to_owned(), source };
            Roots::Given(read.map_err(refused)?)
        }
    };
    Ok(HttpClient::https(HttpClientSettings { roots, ..settings })?)
}

async fn ask(
    address: &str,
    ca_file: Option<&Path>,
    token: HeaderValue,
) -> Result<Value, StatusError> {
    let url = format!("{}/v1/sys/seal-backend-status", address.trim_end_matches('/'));
    let url: Uri = url.parse().map_err(|_invalid| StatusError::NotAUrl)?;
    let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
    let client =
        client(scheme.ok_or(StatusError::NotAUrl)?, ca_file, HttpClientSettings::default())?;
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url;
    request.headers_mut().insert("x-vault-token", token);
    let answer = client.send(request).await?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(StatusError::Refused { status });
    }
    let status = serde_json::from_slice::<Value>(answer.body()).ok();
    status.filter(|status| status["backends"].is_array()).ok_or(StatusError::Unreadable)
}
