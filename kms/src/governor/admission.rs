//! How many callers there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cause::GovernorCause;
use crate::ClientTag;

/// Counts callers, waiting or served, so that neither they nor what they hold grow without bound.
/// Selkie's own have their client's share and are not counted with the others, who could not keep
/// them out.
#[derive(Debug)]
pub(super) struct Admission {
    callers: usize,
    callers_per_client: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    callers: usize,
    of: HashMap<ClientTag, usize>,
}

impl Admission {
    pub(super) fn new(callers: usize, callers_per_client: usize) -> Self {
        Self { callers, callers_per_client, present: Mutex::default() }
    }

    pub(super) fn admit(self: &Arc<Self>, client: ClientTag) -> Result<Admitted, GovernorCause> {
        let mut present = self.present();
        let of_client = present.of.get(&client).copied().unwrap_or_default();
        if of_client >= self.callers_per_client {
            return Err(GovernorCause::ClientFull);
        }
        if client != ClientTag::SELKIE {
            if present.callers >= self.callers {
                return Err(GovernorCause::Full);
            }
            present.callers += 1;
        }
        present.of.insert(client, of_client + 1);
        Ok(Admitted { admission: Arc::clone(self), client })
    }

    /// How many callers there are, Selkie's own aside.
    pub(super) fn callers(&self) -> usize {
        self.present().callers
    }

    fn release(&self, client: ClientTag) {
        let mut present = self.present();
        if client != ClientTag::SELKIE {
            present.callers -= 1;
        }
        if let Some(of_client) = present.of.get_mut(&client) {
            *of_client -= 1;
            if *of_client == 0 {
                present.of.remove(&client);
            }
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's leave to be here.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    client: ClientTag,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.release(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_and_all_together_are_bounded_and_leaving_makes_room() {
        let admission = Arc::new(Admission::new(3, 2));
        let [one, two] = [1, 2].map(ClientTag::new);
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert_eq!(admission.admit(one).unwrap_err(), GovernorCause::ClientFull);
        let _third = admission.admit(two).unwrap();
        assert_eq!(admission.admit(two).unwrap_err(), GovernorCause::Full);
        drop(first);
        assert!(admission.admit(one).is_ok());
        assert_eq!(admission.callers(), 2);
    }

    #[test]
    fn selkie_has_room_of_its_own_and_not_more() {
        let admission = Arc::new(Admission::new(1, 2));
        let _other = admission.admit(ClientTag::new(1)).unwrap();
        let _own = [(); 2].map(|()| admission.admit(ClientTag::SELKIE).unwrap());
        assert_eq!(admission.admit(ClientTag::SELKIE).unwrap_err(), GovernorCause::ClientFull);
    }

    #[test]
    fn nothing_is_kept_of_a_client_that_has_left() {
        let admission = Arc::new(Admission::new(9, 9));
        drop((1..5).map(|n| admission.admit(ClientTag::new(n)).unwrap()).collect::<Vec<_>>());
        assert!(admission.present().of.is_empty());
    }
}
