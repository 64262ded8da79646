//! What a governor itself answers for.

/// Why a [`Governor`](super::Governor) answered in the KMS's stead: the cause of a
/// [`KmsError`](crate::KmsError) that came from no KMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GovernorCause {
    /// As many callers are waiting as may wait.
    #[error("too many callers wait for this KMS")]
    Full,
    /// As many callers of this client are waiting as may wait.
    #[error("too many callers of this client wait for this KMS")]
    ClientFull,
    /// The KMS was busy with others until the deadline.
    #[error("no turn came before the deadline")]
    NoTurn,
    /// The provider had not answered when its time was over.
    #[error("the provider did not answer within the time of one call")]
    NoAnswer,
}
