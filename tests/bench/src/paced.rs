//! Latency under a load that is given, not the one that the server can bear: requests are due at
//! fixed times, and one that found all connections busy has waited since it was due.
//!
//! One thread does it all, with as little work per request as there can be, and says what share of
//! its time it had to work and how late it was itself: what a busy generator measures is itself.

mod connection;
mod histogram;

use std::collections::VecDeque;
use std::fs;
use std::io::{Write, stderr, stdout};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;
use rustix::time::{ClockId, clock_gettime};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use self::connection::Connection;
use self::histogram::Histogram;

/// A generator that works for more of its time than this measures itself.
const BUSY_PERCENT: u128 = 80;
/// A pause of no more than this is slept through: to be woken up by each answer in between costs more
/// than all else, and the server too. So much later may an answer be noted.
const TICK: Duration = Duration::from_micros(60);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const EVENTS: usize = 64;
/// How long after the end the last answers may come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one request over and over, at a steady rate. Prints, with tabs between them: p50, p99 and
/// p99.9 in microseconds; the requests per second that came of it; the percentage of its time that
/// this program had to work; by how many microseconds it sent late itself, p99 and at most.
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
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// What is due when, and what came of it.
struct Schedule {
    next: Instant,
    each: Duration,
    end: Instant,
    /// Since when there has been a connection without a request on its way.
    free_since: Instant,
    latencies: Histogram,
    /// How late requests were sent although a connection was free.
    delays: Histogram,
}

impl Paced {
    pub(crate) fn run(self) -> Result<()> {
        ensure!(
            self.connections > 0 && self.rate > 0.0,
            "nothing to send, or nothing to send it over"
        );
        let config = self.certificate.as_ref().map(trusting).transpose()?;
        let request = self.request()?;
        let open = |_| {
            let mut connection = Connection::open(self.server, config.as_ref())?;
            // Takes the handshake, and what is done once, out of the first latency.
            connection.ask(&request)?;
            Ok(connection)
        };
        let mut connections = (0..self.connections).map(open).collect::<Result<Vec<_>>>()?;
        let mut schedule = Schedule::new(self.rate, Duration::from_secs(self.seconds));
        let (began, worked) = (schedule.next, cpu_time());
        schedule.run(&mut connections, &request)?;
        let percent = (cpu_time() - worked).as_nanos() * 100 / began.elapsed().as_nanos().max(1);
        let Schedule { latencies, delays, .. } = &schedule;
        let [p50, p99, p999] = [500, 990, 999].map(|permille| latencies.at(permille).as_micros());
        let rate = latencies.total() / self.seconds.max(1);
        let (late, latest) = (delays.at(990).as_micros(), delays.most().as_micros());
        writeln!(stdout(), "{p50}\t{p99}\t{p999}\t{rate}\t{percent}\t{late}\t{latest}")?;
        if percent > BUSY_PERCENT {
            writeln!(
                stderr(),
                "this program worked {percent} % of its time: the figure is its own, not the server's"
            )?;
        }
        Ok(())
    }

    fn request(&self) -> Result<Vec<u8>> {
        let body = fs::read(&self.body)?;
        let (Self { server, token, path, .. }, length) = (self, body.len());
        let mut request = format!(
            "PUT /v1/{path} HTTP/1.1\r\nHost: {server}\r\nX-Vault-Request: true\r\n\
             X-Vault-Token: {token}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(&body);
        Ok(request)
    }
}

impl Schedule {
    fn new(rate: f64, time: Duration) -> Self {
        let next = Instant::now() + Duration::from_millis(100);
        let each = Duration::from_secs_f64(1.0 / rate);
        let (latencies, delays) = (Histogram::new(), Histogram::new());
        Self { next, each, end: next + time, free_since: next, latencies, delays }
    }

    fn run(&mut self, connections: &mut [Connection], request: &[u8]) -> Result<()> {
        // The kernel may wake up a sleeper 50 us late if nobody says otherwise.
        set_current_timer_slack(NonZeroU64::new(1))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, connection) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(u64::try_from(number)?);
            epoll::add(&epoll, connection, data, epoll::EventFlags::IN)?;
        }
        let mut free: VecDeque<_> = (0..connections.len()).collect();
        let mut events = Vec::with_capacity(EVENTS);
        while self.next < self.end || free.len() < connections.len() {
            self.send_due(connections, &mut free, request)?;
            let mut pause = self.pause(!free.is_empty());
            if pause <= TICK {
                thread::sleep(pause);
                pause = Duration::ZERO;
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
            epoll::wait(&epoll, spare_capacity(&mut events), Some(&pause))?;
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64())?;
                self.take_answer(connections, &mut free, number)?;
            }
            ensure!(Instant::now() < self.end + PATIENCE, "some answers do not come");
        }
        Ok(())
    }

    fn take_answer(
        &mut self,
        connections: &mut [Connection],
        free: &mut VecDeque<usize>,
        number: usize,
    ) -> Result<()> {
        let connection = connections.get_mut(number).context("a connection of ours")?;
        if connection.receive()? {
            let now = Instant::now();
            self.latencies.note(now.saturating_duration_since(connection.due));
            if free.is_empty() {
                self.free_since = now;
            }
            free.push_back(number);
        }
        Ok(())
    }

    fn send_due(
        &mut self,
        connections: &mut [Connection],
        free: &mut VecDeque<usize>,
        request: &[u8],
    ) -> Result<()> {
        while self.next < self.end {
            let now = Instant::now();
            if now < self.next {
                break;
            }
            let Some(number) = free.pop_front() else { break };
            let connection = connections.get_mut(number).context("a connection of ours")?;
            connection.due = self.next;
            self.delays.note(now.saturating_duration_since(self.next.max(self.free_since)));
            connection.send(request)?;
            self.next += self.each;
        }
        Ok(())
    }

    /// How long nothing needs to be done unless an answer comes.
    fn pause(&self, is_any_free: bool) -> Duration {
        let until_due = self.next.saturating_duration_since(Instant::now());
        let has_to_send = is_any_free && self.next < self.end;
        if has_to_send { until_due.min(LONGEST_PAUSE) } else { LONGEST_PAUSE }
    }
}

/// What this process has worked; it has one thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn trusting(certificate: &PathBuf) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
