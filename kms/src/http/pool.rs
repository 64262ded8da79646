//! Idle connections. Each has buffers that never grow, as only what is offered for reading again is
//! wiped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connect::{Origin, Transport};

/// How long a connection may lie idle: well below the time after which Azure's side closes it.
const IDLE: Duration = Duration::from_secs(60);
/// How old a connection becomes at most: its name may have another address by then, and one that is
/// used again and again would never learn of it.
const LIFE: Duration = Duration::from_secs(300);
/// Connections made at once end one after another, in so many steps, and not all with one burst.
const LIVES: u32 = 8;
const STEP: Duration = Duration::from_secs(15);
/// Idle connections for each origin; more than there are calls at once.
const IDLE_CONNECTIONS: usize = 64;
/// Room for the headers of an answer, which is also the largest frame of a body. It never grows: hyper
/// offers a buffer that has grown only in part when it reads again, and what lies in the other part,
/// the DEK of an earlier answer, say, would not be wiped while the connection lives.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection that speaks HTTP, with the task that drives it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    /// When it is used for the last time.
    until: Instant,
}

/// Ends with the connection, so that an abandoned answer is not read to its end.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Over `stream`, for as long as `life`.
    pub(super) async fn new(stream: Box<dyn Transport>, life: Duration) -> hyper::Result<Self> {
        let until = Instant::now() + life;
        // Vectored writes send a body from where it lies; otherwise hyper copies it into a buffer
        // that keeps it for as long as the connection lives.
        let (sender, connection) = http1::Builder::new()
            .writev(true)
            .read_buf_exact_size(Some(BUFFER_BYTES))
            .handshake(TokioIo::new(stream))
            .await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer is told the same.
            let _ = connection.await;
        });
        Ok(Self { sender, driver: Driver(driver), until })
    }

    /// Whether it can be used, and is not too old to be.
    fn is_good(&self) -> bool {
        let is_open = !self.sender.is_closed() && !self.driver.0.is_finished();
        is_open && Instant::now() < self.until
    }
}

/// Connections that wait for their next call.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
    /// How many lives were given out.
    lives: AtomicU32,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// How long the next connection may be used.
    pub(super) fn next_life(&self) -> Duration {
        LIFE - STEP * (self.lives.fetch_add(1, Ordering::Relaxed) % LIVES)
    }

    /// The connection to `origin` that was used last, so that the others may age.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.lock();
        Some(idle.get_mut(origin)?.pop()?.connection)
    }

    /// Keeps a connection whose answer was read to the end.
    pub(super) fn put(&self, origin: &Origin, connection: Connection) {
        let mut idle = self.lock();
        let mine = idle.entry(origin.clone()).or_default();
        if mine.len() < IDLE_CONNECTIONS {
            mine.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Gives up all that wait for `origin`.
    pub(super) fn forget(&self, origin: &Origin) {
        drop(self.lock().remove(origin));
    }

    /// Without those that are closed or too old, or have been idle for too long.
    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Vec<Idle>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|one| one.connection.is_good() && one.since.elapsed() < IDLE);
            !connections.is_empty()
        });
        idle
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use http_body_util::BodyExt;
    use hyper::Request;
    use tokio::io::{
        AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, ReadHalf, duplex, join,
        split,
    };

    use super::*;

    /// Notes how much it is offered to read into.
    struct Noting {
        stream: ReadHalf<DuplexStream>,
        offers: Arc<Mutex<Vec<usize>>>,
    }

    impl AsyncRead for Noting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.offers.lock().unwrap().push(buf.remaining());
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    /// Answers each request with the next of these bodies.
    async fn answer(mut stream: DuplexStream, bodies: [usize; 4]) {
        let mut request = [0; 1024];
        for bytes in bodies {
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; bytes]).await.unwrap();
        }
        // Until the other side has enough.
        assert_eq!(stream.read(&mut request).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_connection_to_a_kms_always_offers_its_whole_buffer_for_reading() {
        let bodies = [200_000, 100, 300_000, 100];
        let (ours, theirs) = duplex(256 * 1024);
        let offers = Arc::default();
        let (stream, writer) = split(ours);
        let reader = Noting { stream, offers: Arc::clone(&offers) };
        let mut connection = Connection::new(Box::new(join(reader, writer)), LIFE).await.unwrap();
        let server = tokio::spawn(answer(theirs, bodies));
        for bytes in bodies {
            connection.sender.ready().await.unwrap();
            let request = Request::builder().uri("/").body(Full::default()).unwrap();
            let answer = connection.sender.send_request(request).await.unwrap();
            assert_eq!(answer.collect().await.unwrap().to_bytes().len(), bytes);
        }
        connection.sender.ready().await.unwrap();
        drop(connection);
        server.await.unwrap();
        let offers = offers.lock().unwrap();
        assert!(offers.len() > bodies.len());
        assert!(offers.iter().all(|offered| *offered == BUFFER_BYTES), "{offers:?}");
    }
}
