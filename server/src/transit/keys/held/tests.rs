use selkie_crypto::{KekId, KeyVersion, SealName};
use selkie_storage::RecordValue;

use super::*;
use crate::seal::KekRef;
use crate::state::record_key;
use crate::state::records::late::{Follower, no_late_answer_takes_back_what_was_heard};
use crate::transit::{KeySource, VersionRecord};

fn mount(name: &str) -> MountPath {
    name.parse().unwrap()
}

fn key(name: &str, left_out: &[&str]) -> TransitKey {
    let seal = |name: &str| SealName::new(name).unwrap();
    let keks = vec![KekRef { seal: seal("a"), kek: KekId::new("a-1").unwrap() }];
    let left_out = left_out.iter().copied().map(seal).collect();
    let first = KeyVersion::FIRST;
    TransitKey {
        name: name.parse().unwrap(),
        source: KeySource::Managed,
        derived: false,
        quorum: 1,
        deletion_allowed: false,
        allow_missing_seals: true,
        min_decryption: first,
        min_encryption: None,
        min_available: None,
        latest: first,
        versions: BTreeMap::from([(first, Arc::new(VersionRecord { created: 1, keks, left_out }))]),
        uncounted: Vec::new(),
    }
}

fn put(at: &str, name: &str, left_out: &[&str]) -> Write {
    let place = record_key(&mount(at), &name.parse().unwrap()).unwrap();
    Write::Put(place, KeyRecord::encode(&key(name, left_out)).unwrap())
}

fn delete(at: &str, name: &str) -> Write {
    Write::Delete(record_key(&mount(at), &name.parse().unwrap()).unwrap())
}

fn holding(commits: impl IntoIterator<Item = Vec<Write>>) -> Holding {
    let mut holding = Holding::default();
    for (number, writes) in (1..).zip(commits) {
        holding.follow(&Commit { revision: Revision::new(number), writes });
    }
    holding
}

fn told<'k>(keys: impl IntoIterator<Item = (&'k MountPath, &'k Arc<TransitKey>)>) -> Vec<String> {
    keys.into_iter().map(|(mount, key)| format!("{mount}/{}", key.name)).collect()
}

#[test]
fn pages_of_every_length_show_each_key_once_and_nothing_else() {
    let there = [("m", "a"), ("m", "b"), ("m", "d"), ("n", "a"), ("p", "c"), ("p", "z")];
    let mut commits: Vec<_> = there.iter().map(|(at, name)| vec![put(at, name, &[])]).collect();
    commits.extend([vec![put("m", "c", &[]), put("o", "only", &[])], vec![delete("o", "only")]]);
    let bad = RecordValue::new(*b"{}").unwrap();
    let place = record_key(&mount("m"), &"c".parse().unwrap()).unwrap();
    commits.push(vec![Write::Put(place, bad)]);
    let holding = holding(commits);
    for limit in 1..=there.len() + 1 {
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = holding.page(after.as_ref(), limit);
            let Some((mount, key)) = page.last() else { break };
            assert!(page.len() <= limit);
            after = Some((mount.clone(), key.name.clone()));
            seen.extend(told(page.iter().map(|(mount, key)| (mount, key))));
        }
        assert_eq!(seen, ["m/a", "m/b", "m/d", "n/a", "p/c", "p/z"], "{limit} at a time");
    }
}

#[test]
fn what_was_deleted_is_held_until_the_watch_tells_of_it_and_then_forgotten() {
    let mut holding = holding([vec![put("m", "a", &[])], vec![put("m", "b", &[])]]);
    let deleted = |name: &str, at| KeyInStore {
        mount: mount("m"),
        name: name.parse().unwrap(),
        held: Held { entry: Entry::Deleted, revision: Revision::new(at) },
    };
    holding.take(deleted("a", 4));
    holding.take(deleted("b", 5));
    holding.follow(&Commit { revision: Revision::new(3), writes: vec![put("m", "a", &[])] });
    assert!(matches!(holding.get(&mount("m"), "a").unwrap().entry, Entry::Deleted), "an old put");
    holding.follow(&Commit { revision: Revision::new(4), writes: vec![delete("m", "a")] });
    assert!(holding.get(&mount("m"), "a").is_none());
    assert!(holding.get(&mount("m"), "b").is_some(), "the watch has not come so far");
    holding.follow(&Commit { revision: Revision::new(5), writes: vec![delete("m", "b")] });
    assert!(holding.get(&mount("m"), "b").is_none());
    assert!(holding.deleted.is_empty());
}

#[test]
fn a_key_that_was_made_anew_after_its_deletion_stays() {
    let mut holding = holding([vec![put("m", "a", &[])]]);
    holding.take_absence(&mount("m"), &"a".parse().unwrap(), Revision::new(1));
    let made = put("m", "a", &[]);
    holding.follow(&Commit { revision: Revision::new(7), writes: vec![made] });
    assert!(matches!(holding.get(&mount("m"), "a").unwrap().entry, Entry::Key(_)));
    assert!(holding.deleted.is_empty());
}

#[test]
fn the_keys_that_leave_out_a_seal_are_those_whose_newest_record_says_so() {
    let mut holding = holding([
        vec![put("m", "whole", &[]), put("m", "back", &["b"]), put("m", "lacks", &["b"])],
        vec![put("m", "gone", &["b"]), put("m", "unlisted", &["b"])],
        vec![put("m", "back", &[]), delete("m", "gone")],
    ]);
    assert_eq!(told(holding.lacking()), ["m/lacks", "m/unlisted"]);
    let (at, lacks) = (mount("m"), "lacks".parse().unwrap());
    let entry = Entry::Key(Arc::new(key("lacks", &["b"])));
    let held = Held { entry, revision: Revision::new(1) };
    holding.replace(vec![KeyInStore { mount: at, name: lacks, held }], Revision::new(3));
    assert_eq!(told(holding.lacking()), ["m/lacks"]);
    assert_eq!(holding.lacking.len(), 1, "nothing is noted of what is not there any more");
}

#[test]
fn an_answer_that_a_deletion_has_overtaken_brings_no_key_back() {
    let Write::Put(place, value) = put("transit", "k", &[]) else { unreachable!() };
    let answer = |revision| {
        let (key, value) = (place.clone(), value.clone());
        KeyInStore::read(&Record { key, value, revision: Revision::new(revision) }).unwrap()
    };
    let mut holding = holding([vec![put("transit", "k", &[])], vec![delete("transit", "k")]]);
    holding.take(answer(1));
    assert!(holding.get(&mount("transit"), "k").is_none());
    holding.take(answer(3));
    assert!(holding.get(&mount("transit"), "k").is_some(), "it was made anew");
}

impl Follower for Holding {
    fn place() -> RecordKey {
        record_key(&mount("m"), &"k".parse().unwrap()).unwrap()
    }

    fn value(number: u64) -> RecordValue {
        let mut key = key("k", &[]);
        let version = VersionRecord { created: number, keks: Vec::new(), left_out: Vec::new() };
        key.versions = BTreeMap::from([(KeyVersion::FIRST, Arc::new(version))]);
        KeyRecord::encode(&key).unwrap()
    }

    fn shown(&self) -> Option<u64> {
        let key = self.get(&mount("m"), "k")?.entry.key()?;
        key.versions.get(&KeyVersion::FIRST).map(|version| version.created)
    }

    fn hear(&mut self, commit: &Commit) {
        self.follow(commit);
    }

    fn commit_answered(&mut self, commit: &Commit) {
        let [write] = &commit.writes[..] else { unreachable!() };
        let found = match write {
            Write::Put(key, value) => {
                let (key, value) = (key.clone(), value.clone());
                KeyInStore::read(&Record { key, value, revision: commit.revision })
            }
            Write::Delete(key) => KeyInStore::deleted(key, commit.revision),
        };
        self.take(found.unwrap());
    }

    fn read_answered(&mut self, found: Option<&Record>, revision: Revision) {
        match found {
            Some(record) => self.take(KeyInStore::read(record).unwrap()),
            None => self.take_absence(&mount("m"), &"k".parse().unwrap(), revision),
        }
    }

    fn listed(&mut self, found: Option<&Record>, revision: Revision) {
        self.replace(found.and_then(KeyInStore::read).into_iter().collect(), revision);
    }
}

#[test]
fn no_late_answer_takes_back_what_the_keys_were_told() {
    no_late_answer_takes_back_what_was_heard::<Holding>();
}

#[test]
fn a_listing_that_comes_late_makes_no_deleted_key_an_unreadable_one() {
    let mut holding = holding([vec![put("m", "k", &[])], vec![delete("m", "k")]]);
    let damaged = KeyInStore::unreadable(&Holding::place()).unwrap();
    holding.replace(vec![damaged], Revision::new(1));
    assert!(holding.names(&mount("m")).is_empty());
}
