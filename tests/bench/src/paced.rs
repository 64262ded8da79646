//! Latency under a load that is given, not the one that the server can bear: requests are due at
//! fixed times, and one that found its connection still busy has waited since it was due.

use std::fs;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_tests::{Client, Connection, Request};

/// Sends one request over and over, at a steady rate. Prints p50, p99 and p99.9 in microseconds and
/// the rate that came of it, with tabs between them.
#[derive(Debug, clap::Args)]
pub(crate) struct Paced {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// Its certificate; without it, plain HTTP is spoken.
    #[arg(long)]
    certificate: Option<PathBuf>,
    #[arg(long)]
    token: String,
    /// Below `/v1/`.
    #[arg(long)]
    path: String,
    /// A file with the request's body.
    #[arg(long)]
    body: PathBuf,
    /// Requests per second, over all connections.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 32)]
    connections: u32,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

impl Paced {
    pub(crate) fn run(self) -> Result<()> {
        let client = Client {
            tls: self.certificate.as_ref().map(trusting).transpose()?,
            ..Client::plain(self.server).with_token(&self.token)
        };
        let request = Request::new("PUT", &self.path).body(fs::read(&self.body)?);
        let each = Duration::from_secs_f64(f64::from(self.connections) / self.rate);
        let began = Instant::now() + Duration::from_millis(500);
        let end = began + Duration::from_secs(self.seconds);
        let one = |number: u32| {
            let mut connection = client.connect()?;
            // Takes the handshake out of the first latency.
            sent(&mut connection, &request)?;
            let first = began + each * number / self.connections;
            latencies(&mut connection, &request, first, each, end)
        };
        let mut all = thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> =
                (0..self.connections).map(|number| scope.spawn(move || one(number))).collect();
            let taken = threads.into_iter().map(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))?
            });
            taken.collect::<Result<Vec<_>>>()
        })?
        .concat();
        all.sort_unstable();
        let at = |permille: usize| {
            let place = (all.len() * permille / 1000).min(all.len().saturating_sub(1));
            Ok::<_, anyhow::Error>(all.get(place).context("no request was due")?.as_micros())
        };
        let rate = all.len() / usize::try_from(self.seconds)?.max(1);
        writeln!(stdout(), "{}\t{}\t{}\t{rate}", at(500)?, at(990)?, at(999)?)?;
        Ok(())
    }
}

/// From when a request was sent, or was due if its connection was busy then, to its answer.
fn latencies(
    connection: &mut Connection,
    request: &Request,
    first: Instant,
    each: Duration,
    end: Instant,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut due = first;
    while due < end {
        let now = Instant::now();
        let from = if now < due {
            thread::sleep(due - now);
            // Waking up late is this program's own affair.
            Instant::now()
        } else {
            due
        };
        sent(connection, request)?;
        latencies.push(from.elapsed());
        due += each;
    }
    Ok(latencies)
}

fn sent(connection: &mut Connection, request: &Request) -> Result<()> {
    let status = connection.send(request.clone())?.status;
    ensure!(status == 200, "the answer was {status}");
    Ok(())
}

fn trusting(certificate: &PathBuf) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
