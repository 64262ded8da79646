use std::collections::HashMap;

/// How many responses, and how many bytes they have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Usage {
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(super) const fn is_within(self, most: Self) -> bool {
        self.count <= most.count && self.bytes <= most.bytes
    }

    const fn without(self, bytes: usize) -> Self {
        Self { count: self.count.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// What all use together, and each of them.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Usage,
    by_owner: HashMap<String, Usage>,
}

impl Shares {
    pub(super) const fn all(&self) -> Usage {
        self.all
    }

    pub(super) fn of(&self, owner: &str) -> Usage {
        self.by_owner.get(owner).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, owner: &str, bytes: usize) {
        let one = Usage { count: 1, bytes };
        self.all = self.all.and(one);
        let share = self.by_owner.entry(owner.to_owned()).or_default();
        *share = share.and(one);
    }

    pub(super) fn remove(&mut self, owner: &str, bytes: usize) {
        self.all = self.all.without(bytes);
        let Some(share) = self.by_owner.get_mut(owner) else { return };
        *share = share.without(bytes);
        if share.count == 0 {
            self.by_owner.remove(owner);
        }
    }
}
