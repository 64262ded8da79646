//! The client and the provider against servers whose every answer is written by hand.

mod fake;
mod manners;
mod provider;
mod refusals;
mod tokens;

use std::path::PathBuf;
use std::sync::Arc;

use selkie_crypto::os_random;
use zeroize::Zeroizing;

use super::*;
use crate::KmsError;
use crate::http::HttpClient;
use crate::http::Roots;
use crate::http::test_server::{Received, Reply, TestServer, answer, settings};

fn key() -> TransitKeyName {
    TransitKeyName::new("unseal").unwrap()
}

/// Settings for a server in clear on this machine, whose token is left alone.
fn to(address: &str) -> TransitSettings {
    TransitSettings {
        address: address.parse().unwrap(),
        mount: TransitMountPath::new("a/b/").unwrap(),
        namespace: Some("ns/".to_owned()),
        token: TokenSource::Given(Zeroizing::new("hvs.token".to_owned())),
        disable_renewal: true,
        client_certificate: None,
        ca_certificates: None,
        server_name: None,
        proxy: None,
    }
}

fn client(settings_of_client: TransitSettings) -> Arc<TransitClient> {
    let http = HttpClient::plain(settings(Roots::System)).unwrap();
    TransitClient::over(http, settings_of_client, Arc::new(os_random)).unwrap()
}

fn client_of(server: &TestServer) -> Arc<TransitClient> {
    client(to(&format!("http://{}", server.address)))
}

fn outcome<T: std::fmt::Debug>(result: Result<T, KmsError>) -> (TransitHop, TransitOutcome) {
    let error = result.unwrap_err();
    let diagnosis = TransitDiagnosis::of(&error).unwrap();
    (diagnosis.hop, diagnosis.outcome)
}

async fn walked(kms: &TransitKms) -> Vec<TransitStep> {
    let mut steps = Vec::new();
    kms.check(&os_random, &mut |step| steps.push(step)).await.unwrap();
    steps
}

fn is_for(request: &Received, path: &str) -> bool {
    request.text.lines().next().is_some_and(|line| line.contains(path))
}

fn redirect(status: u16, location: &str) -> Reply {
    Reply::Answer(format!(
        "HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    ))
}

fn token_file(dir: &tempfile::TempDir, token: &str) -> PathBuf {
    let path = dir.path().join("token");
    std::fs::write(&path, token).unwrap();
    path
}
