use super::shares::{Shares, Usage};
use super::{WrapError, Wrapping};

/// What is set aside for a response that is not there yet: more than one has of which something was
/// made, such as a token, so that what was made is wrapped.
const EXPECTED_BYTES: usize = 16 << 10;

/// Room for one response, from before the operation that it is of until it is kept.
#[derive(Debug)]
pub struct Room<'w> {
    wrapping: &'w Wrapping,
    /// Whose share it is of; empty until it is known.
    owner: String,
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
        Ok(Room { wrapping: self, owner: owner.to_owned(), bytes: EXPECTED_BYTES })
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
    /// Whose it is turns out.
    ///
    /// # Errors
    ///
    /// [`WrapError::Full`].
    pub(crate) fn claim(&mut self, owner: &str) -> Result<(), WrapError> {
        self.change(owner.to_owned(), self.bytes)
    }

    /// How long the response is turns out.
    pub(super) fn require(&mut self, bytes: usize) -> Result<(), WrapError> {
        self.change(self.owner.clone(), bytes)
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    fn change(&mut self, owner: String, bytes: usize) -> Result<(), WrapError> {
        let mut taken = self.wrapping.taken();
        taken.remove(&self.owner, self.bytes);
        let fits = self.wrapping.fits(&taken, &owner, bytes);
        if fits {
            (self.owner, self.bytes) = (owner, bytes);
        }
        taken.add(&self.owner, self.bytes);
        if fits { Ok(()) } else { Err(WrapError::Full) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.wrapping.taken().remove(&self.owner, self.bytes);
    }
}
