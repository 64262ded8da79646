//! What Selkie keeps in its store, as typed records. No record holds a secret, and none is needed
//! to decrypt (invariant I1): a managed key is the numbers and names of its versions.

pub mod backend;
pub mod checkpoint;
pub(crate) mod keeper;
mod key_record;
pub mod layout;
pub(crate) mod listing;
mod missing;
pub mod opening;
pub mod others;
pub mod presence;
pub mod records;
mod root;
pub mod sealed_store;
pub(crate) mod state_key;
#[cfg(test)]
mod upgrade;
pub mod writes;

pub use keeper::{Backend, StateStatus, StateWatch};
pub use key_record::{KeyRecord, RecordError, record_key, under_mounts};
pub use missing::Missing;
pub use opening::Behind;
pub use root::Root;
