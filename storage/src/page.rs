//! Listing, a page at a time.

use std::num::NonZeroUsize;

use crate::key::RecordKey;
use crate::record::{Record, Revision};

const BULK_LIMIT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const DEFAULT_LIMIT: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// What part of the store to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only records [under](RecordKey::is_under) this key; all records without it.
    pub under: Option<RecordKey>,
    /// Only records whose key is greater than this one.
    pub after: Option<RecordKey>,
    /// At most so many records; a store may give fewer although there are more.
    pub limit: NonZeroUsize,
}

impl Page {
    /// The first page of the whole store.
    pub const fn all() -> Self {
        Self { under: None, after: None, limit: DEFAULT_LIMIT }
    }

    /// As [`all`](Self::all), for who reads all of a store that may be large: etcd looks at every key
    /// behind a page to answer it, so few long pages are read much faster than many short ones.
    pub const fn all_in_bulk() -> Self {
        Self { under: None, after: None, limit: BULK_LIMIT }
    }

    /// As [`all_in_bulk`](Self::all_in_bulk), of the records under `key`.
    pub const fn under_in_bulk(key: RecordKey) -> Self {
        Self { under: Some(key), after: None, limit: BULK_LIMIT }
    }

    /// The first page of the records under `key`.
    pub const fn under(key: RecordKey) -> Self {
        Self { under: Some(key), after: None, limit: DEFAULT_LIMIT }
    }
}

/// One page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The records, in the order of their keys.
    pub records: Vec<Record>,
    /// The newest revision when the page was read; a watch from here misses nothing.
    pub revision: Revision,
    /// The page that follows; `None` at the end, and only there.
    pub next: Option<Page>,
}
