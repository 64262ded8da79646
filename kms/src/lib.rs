//! The master keys: [`Kms`] is what Selkie asks of whoever holds one, [`StaticKms`] the provider
//! that holds it in memory, [`azure`] and [`transit`] those that ask another server, [`OfflineKms`]
//! the one whose key is with people, [`Faulty`] the one that misbehaves on request,
//! and [`Governor`] keeps the use of any of them civil. Whatever talks to a
//! cloud, an HSM or another server belongs in this crate and in no other. It will never see what a
//! client encrypts, choose between master keys, or create, rotate or delete one.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

pub mod azure;
mod call;
mod description;
mod error;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod governor;
pub mod http;
mod offline;
pub mod pkcs11;
mod static_kms;
pub mod transit;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};

pub use call::{Call, ClientTag};
pub use description::{InvalidDescription, KekDescription, KekState, KekVersion, Wrapping};
pub use error::{Cause, KmsError};
pub use fault::{Fault, FaultScript, Faulty};
pub use governor::{
    Backoff, CallOutcomes, Governor, GovernorCause, GovernorFigures, GovernorSettings, LONG_CALL,
};
pub use offline::OfflineKms;
pub use static_kms::{StaticKms, StaticKmsError};

/// The answer of a KMS, on its way.
pub type KmsFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send + 'a>>;

/// The holder of one master key and its versions; used as `Arc<dyn Kms>`.
///
/// What every provider owes is written down as the claims of the `contract` module, which it must
/// pass. Nothing happens before a future is first polled, and any future may be dropped. Nobody
/// calls [`Kms::describe`] without a time limit of their own; the other calls carry their deadline.
pub trait Kms: Debug + Send + Sync {
    /// The versions of the master key and which of them is current, as the KMS sees them now.
    fn describe(&self) -> KmsFuture<'_, KekDescription>;

    /// Wraps `dek` under the version `kek`, with that version's own algorithm.
    ///
    /// For a version that can be wrapped for [locally](Wrapping::Local) the KMS need not be asked.
    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>>;

    /// Unwraps what [`Kms::wrap_dek`] or a local wrap made under the version `kek`.
    ///
    /// Success says that the KMS answered with a secret, not that it was the one that was wrapped:
    /// the commitment in the envelope decides that. The secret may be shared with others that wait
    /// for the same unwrap, and is gone with the last of them.
    ///
    /// # Errors
    /// [`KmsError::Rejected`] if `wrapped` does not open under `kek`, or `algorithm` is not the
    /// version's own; [`KmsError::UnknownKek`] if there is no such version. Each of the others as
    /// it says.
    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>>;
}
