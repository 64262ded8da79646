//! Which servers use a store that several may share, so that none is filled, or left for another,
//! under them: they would take that for tampering, or go on writing to what nobody reads any more.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use selkie_storage::{Page, Record, RecordKey, RecordValue, Store, StoreError, Write};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::layout::PRESENT;
use super::listing::{in_time, list};
use super::opening::place;
use crate::telemetry::WithCauses;

/// How long a server that was killed still counts. The store measures it, so clocks may differ.
pub(crate) const PRESENCE: Duration = Duration::from_secs(30);
/// How often one that lives says so.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long a stop waits for a store that may be away.
const FAREWELL: Duration = Duration::from_secs(1);

/// A server that was heard of within [`PRESENCE`]: a record below [`PRESENT`], as JSON. It is not sealed,
/// as who restores a store may have no state key, and so it tells only whom to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    host: String,
    process: u32,
    /// In seconds since 1970, by its own clock.
    since: u64,
}

impl Present {
    /// This process.
    pub(crate) fn this(now: u64) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { host, process: std::process::id(), since: now }
    }

    fn encode(&self) -> Result<RecordValue, StoreError> {
        let json = serde_json::to_vec(self).map_err(|_unprintable| StoreError::TooLarge)?;
        RecordValue::new(json).map_err(|_large| StoreError::TooLarge)
    }

    /// Whatever it says of itself: a record is one more server.
    fn decode(value: &RecordValue) -> Self {
        serde_json::from_slice(value.as_bytes()).unwrap_or_else(|_other| Self {
            host: "?".to_owned(),
            process: 0,
            since: 0,
        })
    }

    /// Says so in `store`, and that it goes on; the key of its record, where others share the store.
    ///
    /// # Errors
    ///
    /// As for [`Store::attend`].
    pub(crate) async fn attend(&self, store: &dyn Store) -> Result<Option<RecordKey>, StoreError> {
        let (under, value) = (place(PRESENT)?, self.encode()?);
        in_time(store.attend(&under, &value, PRESENCE)).await
    }
}

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 64;
        let Self { host, process, since } = self;
        let host: String = host.chars().take(LONGEST).collect();
        let host = host.escape_debug();
        let since = i64::try_from(*since).ok().and_then(|at| Timestamp::from_second(at).ok());
        write!(f, "process {process} on {host}, since {}", since.unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

/// A server that shows in a store, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    server: Present,
    /// What the tools of the backend call its record.
    place: String,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, place } = self;
        write!(f, "{server} (record {place})")
    }
}

/// The servers that were heard of in `store` of late.
///
/// # Errors
///
/// [`StoreError`].
pub(crate) async fn present(store: &dyn Store) -> Result<Vec<Shown>, StoreError> {
    let listed = list(store, Page::under(place(PRESENT)?)).await?;
    let shown = |record: &Record| Shown {
        server: Present::decode(&record.value),
        place: store.place_of(&record.key),
    };
    Ok(listed.records.iter().map(shown).collect())
}

/// How this process shows in its store.
#[derive(Debug, Default)]
pub(super) struct Presence {
    begun: OnceLock<(Arc<dyn Store>, Present)>,
    /// Whoever changes how it shows has this alone, so that nothing puts back what a stop takes back.
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    record: Option<RecordKey>,
    /// Whether it has been told that it cannot show.
    is_told: bool,
    has_left: bool,
}

impl Presence {
    /// This process uses `store` from now on.
    pub(super) fn begin(&self, store: &Arc<dyn Store>, now: u64) {
        let _first = self.begun.set((Arc::clone(store), Present::this(now)));
    }

    /// Says so, again and again. Nobody reads it but who restores, so no failure of it stops anything.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            self.show().await;
            sleep(RENEWAL).await;
        }
    }

    /// Takes it back, so that nobody waits for a server that was stopped.
    pub(super) async fn end(&self) {
        let taken_back = async {
            let mut standing = self.standing.lock().await;
            standing.has_left = true;
            let (Some((store, _)), Some(record)) = (self.begun.get(), standing.record.take())
            else {
                return;
            };
            let _gone = store.commit(&[], &[Write::Delete(record)]).await;
        };
        // It goes by itself otherwise.
        let _in_time = timeout(FAREWELL, taken_back).await;
    }

    /// Says so now, or that it failed.
    pub(super) async fn show(&self) {
        let Some((store, this)) = self.begun.get() else { return };
        let mut standing = self.standing.lock().await;
        if standing.has_left {
            return;
        }
        match this.attend(&**store).await {
            Ok(record) => {
                standing.record = record;
                standing.is_told = false;
            }
            Err(error) => {
                if !standing.is_told {
                    tracing::warn!(
                        reason = %WithCauses(&error),
                        advice = "stop this server by hand before a restore or a migration; it is \
                                  tried again by itself",
                        "the storage does not show that this server uses it"
                    );
                }
                standing.is_told = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_by_its_process_host_and_start_whatever_a_record_says() {
        let shown = |json: &str| Present::decode(&RecordValue::new(json.as_bytes()).unwrap());
        let told = shown(r#"{"host":"eu-1","process":4711,"since":1764000000}"#).to_string();
        assert_eq!(told, "process 4711 on eu-1, since 2025-11-24T16:00:00Z");
        let hostile =
            shown(&format!(r#"{{"host":"\u001b[2J{}","process":1,"since":1}}"#, "x".repeat(999)));
        let told = hostile.to_string();
        assert!(told.len() < 150 && !told.contains('\u{1b}'), "{told}");
        assert_eq!(shown("no JSON").to_string(), "process 0 on ?, since 1970-01-01T00:00:00Z");
        let this = Present::this(7);
        assert_eq!(Present::decode(&this.encode().unwrap()), this);
    }
}
