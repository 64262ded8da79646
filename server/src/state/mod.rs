//! What Selkie keeps in its store, as typed records. No record holds a secret, and none is needed
//! to decrypt (invariant I1): a managed key is the numbers and names of its versions.

mod key_record;
pub mod layout;
mod root;
pub mod status;

pub use key_record::{KeyRecord, RecordError, record_key, under_mounts};
pub use root::Root;
pub use status::{StateKeyEnvelope, StateStatus};
