//! How many logins are worked on at a time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use selkie_listener::InFlight;
use uuid::Uuid;

/// How many logins at one mount are worked on at a time.
const LOGINS: usize = 32;
/// How many mounts are told apart; where there are more, those that nobody logs in at are forgotten.
const MOUNTS: usize = 1024;
/// How long one more waits for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// The places of logins. They are asked for by strangers, and take none from those who are known. By
/// mount: a provider that hangs keeps nobody out who does not need it.
#[derive(Debug, Default)]
pub(super) struct LoginPlaces(Mutex<HashMap<Uuid, InFlight>>);

impl LoginPlaces {
    /// Those at one mount.
    pub(super) fn at(&self, mount: Uuid) -> InFlight {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOUNTS && !places.contains_key(&mount) {
            places.retain(|_, places| !places.is_idle());
        }
        places.entry(mount).or_insert_with(|| InFlight::new(LOGINS, PATIENCE)).clone()
    }
}
