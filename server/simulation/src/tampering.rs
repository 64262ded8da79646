//! Others write to the store (invariant I5).

use std::time::Duration;

use selkie_storage::{Page, Record, RecordKey, RecordValue, Store, Write};

use crate::ask::{Ask, By};
use crate::facts::{Standing, Token};
use crate::planted::Planted;
use crate::server::DECLARED;
use crate::world::{QUIET, World};

impl World {
    /// Keeps what the store holds, for one of its records to be put back later.
    pub(crate) async fn remember_store(&mut self) {
        self.remembered = self.records().await;
    }

    async fn records(&self) -> Vec<Record> {
        let listed = self.memory.list(&Page::all_in_bulk()).await.unwrap();
        assert!(listed.next.is_none(), "more records than a page has");
        listed.records
    }

    async fn record(&self, place: &RecordKey) -> Option<RecordValue> {
        self.memory.get(place).await.unwrap().map(|record| record.value)
    }

    /// One record is changed, put back, dropped or moved to another's place, and is the last thing
    /// that happens to this store: running replicas change nothing any more, started ones serve
    /// nothing of it, what is declared goes on, and nothing is made in its place.
    pub(crate) async fn tamper(&mut self) {
        let Some((kind, place, value)) = self.tampering().await else { return };
        self.befell(kind);
        self.note(format_args!("{kind}: {place}"));
        if self.planted != Some(Planted::Untouched) {
            let write = match value.clone() {
                Some(value) => Write::Put(place.clone(), value),
                None => Write::Delete(place.clone()),
            };
            self.memory.commit(&[], &[write]).await.unwrap();
        }
        let left = self.record(&place).await;
        self.pass(Duration::from_secs(5)).await;
        self.expect_none("changed", &self.changes()).await;
        for number in 0..self.replicas.len() {
            self.kill(number);
        }
        for number in 0..self.replicas.len() {
            self.start(number).await;
        }
        self.pass(QUIET).await;
        let uses = self.uses();
        self.expect_none("served", &[self.changes(), uses].concat()).await;
        if self.record(&place).await != left {
            self.broken(format_args!("I5: {kind}, and made anew: {place}"));
        }
        for to in 0..self.replicas.len() {
            let (by, key) = (By::Vault, DECLARED.to_owned());
            if self.status(to, Ask::Encrypt { by, key, plaintext: "YQ==".into() }).await != 200 {
                self.broken(format_args!("I6: {kind}, and what is declared is not served"));
            }
        }
    }

    /// What happens to which record; `None` for the value of one that is dropped.
    async fn tampering(&self) -> Option<(&'static str, RecordKey, Option<RecordValue>)> {
        let records = self.records().await;
        let sealed: Vec<_> = records.iter().filter(|one| is_sealed(&one.key)).collect();
        if sealed.len() < 3 || self.managed().is_none() {
            return None;
        }
        let record = self.chance.of(&sealed);
        let put_back = self.remembered.iter().filter(|old| {
            let is_other = |now: &&&Record| now.key == old.key && now.value != old.value;
            sealed.iter().any(|now| is_other(&now))
        });
        let put_back: Vec<_> = put_back.collect();
        Some(match self.chance.below(5) {
            0 => {
                let mut bytes = record.value.as_bytes().to_vec();
                let at = self.chance.index(bytes.len());
                bytes[at] ^= 1 << self.chance.below(8);
                ("record changed", record.key.clone(), Some(RecordValue::new(bytes).unwrap()))
            }
            1 => ("record dropped", record.key.clone(), None),
            2 => {
                let others: Vec<_> = sealed.iter().filter(|one| one.key != record.key).collect();
                let value = self.chance.of(&others).value.clone();
                ("record moved", record.key.clone(), Some(value))
            }
            _ if put_back.is_empty() => ("record dropped", record.key.clone(), None),
            _ => {
                let old = self.chance.of(&put_back);
                ("record put back", old.key.clone(), Some(old.value.clone()))
            }
        })
    }

    fn managed(&self) -> Option<String> {
        self.facts.keys.keys().find(|key| *key != DECLARED).cloned()
    }

    /// Everything that would write to the store.
    fn changes(&self) -> Vec<Ask> {
        let Some(key) = self.managed() else { return Vec::new() };
        vec![
            Ask::Rotate { key: key.clone() },
            Ask::CreateKey { key: "new".to_owned() },
            Ask::WritePolicy { key: key.clone() },
            Ask::CreateToken { key, is_periodic: true },
        ]
    }

    /// What takes something that lies in the store.
    fn uses(&self) -> Vec<Ask> {
        let is_good = |token: &Token| token.is_periodic && token.standing == Standing::Good;
        let Some(token) = self.facts.tokens.iter().position(is_good) else { return Vec::new() };
        let (by, key) = (By::Token(token), self.facts.tokens[token].key.clone());
        vec![Ask::Encrypt { by, key, plaintext: "YQ==".to_owned() }]
    }

    async fn expect_none(&mut self, what: &str, asks: &[Ask]) {
        for to in 0..self.replicas.len() {
            for ask in asks {
                if matches!(self.status(to, ask.clone()).await, 200 | 204) {
                    let line = ask.line(&self.facts);
                    self.broken(format_args!(
                        "I5: the store was tampered with, and r{to} {what}: {line}"
                    ));
                }
            }
        }
    }

    async fn status(&mut self, to: usize, ask: Ask) -> u16 {
        let server = self.replicas[to].server.clone().unwrap();
        let answer = ask.request(&self.facts, None).send(server).await;
        let line = ask.line(&self.facts);
        self.note(format_args!("r{to} {line}: {}", answer.status));
        answer.status
    }
}

/// Whether the state key seals it: of the others each has a check of its own.
fn is_sealed(place: &RecordKey) -> bool {
    let first = place.as_str().split('/').next();
    !matches!(first, Some("format" | "state-key" | "state-key-local" | "filling"))
}
