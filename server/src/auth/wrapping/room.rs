use std::sync::OnceLock;

use super::shares::{Shares, Usage};
use super::{WrapError, Wrapping};

/// What is set aside for a response that is not there yet: more than one has of which something was
/// made, such as a token, so that what was made is wrapped.
const EXPECTED_BYTES: usize = 16 << 10;

/// Room for one response, from before the operation that it is of until it is kept.
#[derive(Debug)]
pub struct Room<'w> {
    wrapping: &'w Wrapping,
    /// Whose share it is of, once it is known.
    owner: OnceLock<String>,
    bytes: usize,
}

impl Wrapping {
    /// Room for a response of `owner`, who is not known yet if it is empty.
    pub(in crate::auth) fn room(&self, owner: &str) -> Result<Room<'_>, WrapError> {
        let mut taken = self.taken();
        if !self.fits(&taken, owner, EXPECTED_BYTES) {
            return Err(WrapError::Full);
        }
        taken.add(owner, EXPECTED_BYTES);
        let known = (!owner.is_empty()).then(|| owner.to_owned());
        let owner = known.map(OnceLock::from).unwrap_or_default();
        Ok(Room { wrapping: self, owner, bytes: EXPECTED_BYTES })
    }

    /// Whether one more fits beside what is kept and what is to come.
    fn fits(&self, taken: &Shares, owner: &str, bytes: usize) -> bool {
        let one = Usage { count: 1, bytes };
        let (all, own) = self.mirror.find(|ends| (ends.shares().all(), ends.shares().of(owner)));
        let is_in_share = || own.and(taken.of(owner)).and(one).is_within(self.share);
        all.and(taken.all()).and(one).is_within(self.most) && (owner.is_empty() || is_in_share())
    }
}

impl Room<'_> {
    /// Whose it is turns out; that does not change any more.
    ///
    /// # Errors
    ///
    /// [`WrapError::Full`].
    pub(crate) fn claim(&self, owner: &str) -> Result<(), WrapError> {
        let mut taken = self.wrapping.taken();
        if self.owner.get().is_some() {
            return Ok(());
        }
        taken.remove("", self.bytes);
        let fits = self.wrapping.fits(&taken, owner, self.bytes);
        if fits {
            self.owner.get_or_init(|| owner.to_owned());
        }
        taken.add(self.owner(), self.bytes);
        if fits { Ok(()) } else { Err(WrapError::Full) }
    }

    /// How long the response is turns out.
    pub(super) fn require(&mut self, bytes: usize) -> Result<(), WrapError> {
        let mut taken = self.wrapping.taken();
        taken.remove(self.owner(), self.bytes);
        let fits = self.wrapping.fits(&taken, self.owner(), bytes);
        self.bytes = if fits { bytes } else { self.bytes };
        taken.add(self.owner(), self.bytes);
        if fits { Ok(()) } else { Err(WrapError::Full) }
    }

    pub(super) fn owner(&self) -> &str {
        self.owner.get().map_or("", String::as_str)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.wrapping.taken().remove(self.owner(), self.bytes);
    }
}
