//! A load balancer for TCP, as simple as they come: round robin over what is healthy.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::http::Client;
use crate::wait::until;

/// How often each backend is asked for its health.
const PERIOD: Duration = Duration::from_millis(200);

/// How long a backend may take to accept, or to tell its health: what is dead refuses at once, and
/// what is only slow is no reason to turn anybody away.
const PATIENCE: Duration = Duration::from_secs(10);

/// It stands for standbys too: with shared storage every replica answers.
const HEALTH: &str = "sys/health?standbyok=true";

/// A running balancer. Connections outlive it; it takes no new ones when dropped.
#[derive(Debug)]
pub struct Balancer {
    /// Where its clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    backends: Mutex<Vec<Backend>>,
    next: AtomicUsize,
    turned_away: AtomicUsize,
    is_over: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Backend {
    address: SocketAddr,
    is_healthy: bool,
    taken: usize,
}

impl Balancer {
    /// A balancer over these servers, which have to be plain HTTP.
    ///
    /// # Errors
    ///
    /// If it cannot listen, or one of them is not healthy within a minute.
    pub fn start(backends: impl IntoIterator<Item = SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let balancer = Self { address: listener.local_addr()?, shared: Arc::default() };
        let shared = Arc::clone(&balancer.shared);
        thread::spawn(move || shared.accept(&listener));
        let shared = Arc::clone(&balancer.shared);
        thread::spawn(move || shared.watch());
        backends.into_iter().try_for_each(|backend| balancer.add(backend))?;
        Ok(balancer)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One more server; waits until it is healthy.
    ///
    /// # Errors
    ///
    /// If it is not within a minute.
    pub fn add(&self, address: SocketAddr) -> Result<()> {
        self.shared.lock().push(Backend { address, is_healthy: false, taken: 0 });
        self.admits(address)
    }

    /// Waits until this server is sent clients.
    ///
    /// # Errors
    ///
    /// If it is not within a minute.
    pub fn admits(&self, address: SocketAddr) -> Result<()> {
        until(&format!("{address} is healthy"), || {
            let is_in = |b: &Backend| b.address == address && b.is_healthy;
            Ok(self.shared.lock().iter().any(is_in).then_some(()))
        })
    }

    /// Sends a server no more clients.
    pub fn remove(&self, address: SocketAddr) {
        self.shared.lock().retain(|backend| backend.address != address);
    }

    /// How many connections each server was given.
    #[must_use]
    pub fn taken(&self) -> Vec<(SocketAddr, usize)> {
        self.shared.lock().iter().map(|backend| (backend.address, backend.taken)).collect()
    }

    /// How many connections no server took.
    #[must_use]
    pub fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::Relaxed)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which then sees it.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(client) = client else { continue };
            let shared = Arc::clone(self);
            thread::spawn(move || match shared.connect() {
                Some(server) => forward(&client, &server),
                None => drop(shared.turned_away.fetch_add(1, Ordering::Relaxed)),
            });
        }
    }

    /// The next server in turn that is healthy and accepts.
    fn connect(&self) -> Option<TcpStream> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut healthy: Vec<_> =
            self.lock().iter().filter(|b| b.is_healthy).map(|b| b.address).collect();
        let places = healthy.len().max(1);
        healthy.rotate_left(turn % places);
        healthy.into_iter().find_map(|address| {
            let server = TcpStream::connect_timeout(&address, PATIENCE).ok();
            self.note(address, |backend| match server {
                Some(_) => backend.taken += 1,
                None => backend.is_healthy = false,
            });
            server
        })
    }

    fn watch(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let addresses: Vec<_> = self.lock().iter().map(|backend| backend.address).collect();
            for address in addresses {
                let client = Client { patience: PATIENCE, ..Client::plain(address) };
                let is_healthy = client.get(HEALTH).is_ok_and(|answer| answer.status == 200);
                self.note(address, |backend| backend.is_healthy = is_healthy);
            }
            thread::sleep(PERIOD);
        }
    }

    fn note(&self, address: SocketAddr, change: impl FnOnce(&mut Backend)) {
        let mut backends = self.lock();
        if let Some(backend) = backends.iter_mut().find(|backend| backend.address == address) {
            change(backend);
        }
    }
}

/// Carries bytes both ways until either side ends.
fn forward(client: &TcpStream, server: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| carry(client, server));
        carry(server, client);
    });
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    // However it ends, the other direction ends with it.
    io::copy(&mut from, &mut to).ok();
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
