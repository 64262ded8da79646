//! Finds tokens by accessor, parent and end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use super::record::TokenId;
use super::{Parent, Token};
use crate::state::records::Index;

/// Finds tokens by what they are not named by.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "a part of how tokens are kept, and of nothing else")]
pub struct TokenIndex {
    accessors: HashMap<Box<str>, TokenId>,
    children: HashMap<TokenId, HashSet<TokenId>>,
    /// By the token clock.
    ends: BTreeSet<(u64, TokenId)>,
}

impl TokenIndex {
    /// The token that has this accessor.
    pub(super) fn by_accessor(&self, accessor: &str) -> Option<TokenId> {
        self.accessors.get(accessor).copied()
    }

    /// Up to `most` children of a token.
    pub(super) fn children_of(&self, parent: &TokenId, most: usize) -> Vec<TokenId> {
        let children = self.children.get(parent);
        children.into_iter().flatten().take(most).copied().collect()
    }

    /// Every token that has children, be it there or not.
    pub(super) fn parents(&self) -> Vec<TokenId> {
        self.children.keys().copied().collect()
    }

    /// Whether there is any token.
    pub(super) fn has_tokens(&self) -> bool {
        !self.accessors.is_empty()
    }

    /// Whether any token ends.
    pub(super) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Up to `most` tokens whose own end is not after `now`, from behind `after` on.
    pub(super) fn ended(
        &self,
        now: u64,
        after: Option<(u64, TokenId)>,
        most: usize,
    ) -> Vec<(u64, TokenId)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.ends.range((from, Bound::Unbounded));
        behind.take_while(|(end, _)| *end <= now).take(most).copied().collect()
    }
}

impl Index<Token> for TokenIndex {
    fn note(&mut self, name: &TokenId, old: Option<&Token>, new: Option<&Token>) {
        if let Some(old) = old {
            self.drop_from_all(name, old);
        }
        let Some(new) = new else { return };
        self.accessors.insert(new.accessor.as_str().into(), *name);
        if let Some(Parent::Token(parent)) = new.made.parent {
            self.children.entry(parent).or_default().insert(*name);
        }
        if let Some(end) = new.expires {
            self.ends.insert((end, *name));
        }
    }
}

impl TokenIndex {
    fn drop_from_all(&mut self, name: &TokenId, old: &Token) {
        self.accessors.remove(old.accessor.as_str());
        if let Some(end) = old.expires {
            self.ends.remove(&(end, *name));
        }
        let Some(Parent::Token(parent)) = old.made.parent else { return };
        if let Some(children) = self.children.get_mut(&parent) {
            children.remove(name);
            if children.is_empty() {
                self.children.remove(&parent);
            }
        }
    }
}
