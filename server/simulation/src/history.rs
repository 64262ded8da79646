//! The steps of a history: what its seed makes of them.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::ask::{Ask, By};
use crate::facts::Standing;
use crate::judge::Sent;
use crate::planted::Planted;
use crate::server::DECLARED;
use crate::world::{BELIEVED, QUIET, SEALS, World};
use crate::{kms, store};

const KEYS: [&str; 2] = ["one", "two"];
/// More versions of a master key than this say nothing new.
pub(crate) const MOST_KEKS: usize = 4;

impl World {
    /// The whole history of the seed, to its end or to the first promise that is broken.
    pub(crate) async fn run(&mut self) {
        self.pass(Duration::from_secs(5)).await;
        let steps = 15 + self.chance.below(25);
        for number in 0..steps {
            self.step().await;
            self.steps += 1;
            if number == steps / 2 {
                self.remember_store().await;
            }
            let pause = match self.chance.below(20) {
                0..12 => Duration::from_millis(self.chance.below(3_000)),
                12..18 => Duration::from_millis(self.chance.below(30_000)),
                _ => Duration::from_millis(self.chance.below(300_000)),
            };
            self.pass(pause).await;
            if self.violation.is_some() {
                return;
            }
        }
        self.end().await;
        let may_tamper = matches!(self.planted, None | Some(Planted::Untouched));
        if self.violation.is_none() && may_tamper && self.seed.is_multiple_of(4) {
            self.tamper().await;
        }
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..60 => self.ask_some(false).await,
            60..65 => self.ask_some(true).await,
            65..75 => self.trouble_with_store(),
            75..87 => self.trouble_with_kms(),
            87..91 => self.restart().await,
            91..94 => self.trouble_with_clock(),
            94..96 => self.reconfigure().await,
            96 => self.cut_off_for_long().await,
            _ => self.heal().await,
        }
    }

    fn running(&self) -> Vec<usize> {
        let numbered = self.replicas.iter().enumerate();
        numbered.filter(|(_, one)| one.server.is_some()).map(|(number, _)| number).collect()
    }

    /// Several requests at once; one of the replicas may be killed while they are under way.
    async fn ask_some(&mut self, is_one_killed: bool) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let count = match self.chance.below(4) {
            0 => 2 + self.chance.index(5),
            _ => 1,
        };
        let mut asks: Vec<_> = (0..count).map(|_| (self.chance.of(&running), self.ask())).collect();
        if let [_] = asks[..] {
            // As a Vault does it: what it decrypts is followed by an encrypt, anywhere.
            if let Ask::Decrypt { by, blob } = asks[0].1.clone() {
                let key = self.facts.blobs[blob].key.clone();
                let plaintext = self.plaintext();
                asks.push((self.chance.of(&running), Ask::Encrypt { by, key, plaintext }));
            }
        }
        let victim = is_one_killed.then(|| self.chance.of(&running));
        self.ask_all(asks, victim).await;
    }

    pub(crate) async fn ask_all(&mut self, asks: Vec<(usize, Ask)>, victim: Option<usize>) {
        let (mut sent, mut tasks) = (Vec::new(), JoinSet::new());
        for (number, (to, ask)) in asks.into_iter().enumerate() {
            let Some(server) = self.replicas[to].server.clone() else { continue };
            let key = match &ask {
                Ask::Encrypt { key, .. } => Some(key.as_str()),
                Ask::Decrypt { blob, .. } | Ask::Rewrap { blob, .. } => {
                    Some(self.facts.blobs[*blob].key.as_str())
                }
                _ => None,
            };
            let key = key.and_then(|key| self.facts.keys.get(key)).cloned();
            let request = ask.request(&self.facts, self.planted);
            let is_refused =
                self.planted == Some(Planted::NoRewrap) && matches!(ask, Ask::Rewrap { .. });
            sent.push((number, Sent { ask, to, at: Instant::now(), key }));
            tasks.spawn(async move {
                let mut answer = request.send(server).await;
                if is_refused {
                    (answer.status, answer.json) = (503, serde_json::Value::Null);
                }
                (number, answer)
            });
        }
        if let Some(victim) = victim {
            sleep(Duration::from_millis(self.chance.below(60))).await;
            self.befell("kill under way");
            self.kill(victim);
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|(number, _)| *number);
        for ((_, sent), (_, answer)) in sent.iter().zip(&answers) {
            self.judge(sent, answer);
        }
    }

    fn plaintext(&self) -> String {
        // Three bytes in base64.
        let letter = || char::from(b'a' + u8::try_from(self.chance.below(26)).unwrap());
        (0..4).map(|_| letter()).collect()
    }

    fn by(&self, key: &str) -> By {
        let of_key = |number: &usize| self.facts.tokens[*number].key == key;
        let tokens = 0..self.facts.tokens.len();
        let fitting: Vec<_> = tokens.clone().filter(of_key).collect();
        match self.chance.below(20) {
            0 => By::Stranger,
            1 if !tokens.is_empty() => By::Token(self.chance.index(tokens.len())),
            _ if key == DECLARED => By::Vault,
            _ if fitting.is_empty() => By::Vault,
            _ => By::Token(self.chance.of(&fitting)),
        }
    }

    fn ask(&self) -> Ask {
        let (keys, tokens) = (&self.facts.keys, self.facts.tokens.len());
        let made: Vec<_> = KEYS.into_iter().filter(|key| keys.contains_key(*key)).collect();
        let key = match (self.chance.is(40), &made[..]) {
            (false, [_, ..]) => self.chance.of(&made),
            _ => DECLARED,
        };
        let by = self.by(key);
        let key = key.to_owned();
        match self.chance.below(100) {
            0..35 => Ask::Encrypt { by, key, plaintext: self.plaintext() },
            35..72 if !self.facts.blobs.is_empty() => self.ask_of_blob(false),
            72..77 if !self.facts.blobs.is_empty() => self.ask_of_blob(true),
            77..80 if tokens > 0 => Ask::Renew { token: self.chance.index(tokens) },
            80..84 if tokens > 2 => Ask::Revoke { token: self.chance.index(tokens) },
            84..88 if !made.is_empty() => Ask::Rotate { key: self.chance.of(&made).to_owned() },
            88 | 89 if !made.is_empty() => {
                let key = self.chance.of(&made);
                let min_decryption = self.facts.keys[key].seen;
                Ask::Configure { key: key.to_owned(), min_decryption }
            }
            _ => {
                let key = self.chance.of(&KEYS).to_owned();
                match (keys.contains_key(&key), self.chance.below(3)) {
                    (false, 0) => Ask::WritePolicy { key },
                    (false, _) => Ask::CreateKey { key },
                    (true, 0) => Ask::WritePolicy { key },
                    (true, _) => Ask::CreateToken { key, is_periodic: self.chance.is(75) },
                }
            }
        }
    }

    fn ask_of_blob(&self, is_rewrap: bool) -> Ask {
        let blob = self.chance.index(self.facts.blobs.len());
        let by = self.by(&self.facts.blobs[blob].key);
        if is_rewrap { Ask::Rewrap { by, blob } } else { Ask::Decrypt { by, blob } }
    }

    fn trouble_with_store(&mut self) {
        use store::Mood;
        let moods = [
            (Mood::Well, "store well"),
            (Mood::Slow, "store slow"),
            (Mood::Away, "store away"),
            (Mood::Partitioned, "store partitioned"),
            (Mood::LosesAnswers, "store loses answers"),
            (Mood::StaleWatch, "store watch stale"),
        ];
        let (mood, name) = self.chance.of(&moods);
        self.befell(name);
        let all = 0..self.replicas.len();
        let whose = match self.chance.is(30) {
            true => all.collect(),
            false => vec![self.chance.index(all.len())],
        };
        whose.into_iter().for_each(|replica| self.set_store(replica, mood));
    }

    fn trouble_with_kms(&mut self) {
        use kms::Mood;
        self.note_passed_over();
        let kms = self.chance.index(SEALS.len());
        match self.chance.below(10) {
            0 | 1 if self.clouds[kms].count() < MOST_KEKS => {
                let number = self.clouds[kms].rotate();
                self.keks_changed = Instant::now();
                self.befell("kek rotated");
                return self.note(format_args!("{} is at {number}", SEALS[kms]));
            }
            2 => {
                let number = 1 + self.chance.index(self.clouds[kms].count());
                let is = self.chance.is(50);
                self.clouds[kms].enable(number, is);
                self.keks_changed = Instant::now();
                self.befell(if is { "kek enabled" } else { "kek disabled" });
                return self.note(format_args!("{} {number} enabled: {is}", SEALS[kms]));
            }
            _ => {}
        }
        let moods = [
            (Mood::Well, "kms well"),
            (Mood::Slow, "kms slow"),
            (Mood::Away, "kms away"),
            (Mood::Hanging, "kms hanging"),
            (Mood::Throttled, "kms throttles"),
            (Mood::Denied, "kms denies"),
            (Mood::Lying, "kms lies"),
        ];
        let (mood, name) = self.chance.of(&moods);
        self.befell(name);
        let all = 0..self.replicas.len();
        let whose = match self.chance.is(50) {
            true => all.collect(),
            false => vec![self.chance.index(all.len())],
        };
        whose.into_iter().for_each(|replica| self.set_kms(replica, kms, mood));
    }

    async fn restart(&mut self) {
        let number = self.chance.index(self.replicas.len());
        self.befell("restart");
        if self.replicas[number].server.is_some() {
            self.kill(number);
        }
        self.start(number).await;
    }

    async fn reconfigure(&mut self) {
        let kms = self.chance.index(SEALS.len());
        let mut disabled = [false; 2];
        disabled[kms] = self.chance.is(50);
        self.disable(disabled).await;
    }

    /// All replicas are started anew, with these master keys out of use, and the others in use again.
    pub(crate) async fn disable(&mut self, disabled: [bool; 2]) {
        self.note_passed_over();
        self.disabled = disabled;
        for kms in 0..SEALS.len() {
            self.was_alone[kms] |= disabled[1 - kms];
        }
        self.generation += 1;
        self.befell(if disabled == [false; 2] { "seal enabled" } else { "seal disabled" });
        self.note(format_args!("disabled: {disabled:?}"));
        for number in 0..self.replicas.len() {
            if self.replicas[number].server.is_some() {
                self.kill(number);
            }
        }
        for number in 0..self.replicas.len() {
            self.start(number).await;
        }
        // It changes what keys are wrapped for, as a rotation does.
        self.keks_changed = Instant::now();
    }

    fn trouble_with_clock(&mut self) {
        let number = self.chance.index(self.replicas.len());
        let off = self.chance.of(&[-7200, -300, -20, -1, 1, 20, 300, 7200]);
        let replica = &mut self.replicas[number];
        replica.clock.is_off_by(off);
        replica.clock_set = Instant::now();
        self.clock_ahead = self.clock_ahead.max(u64::try_from(off).unwrap_or(0));
        self.befell(if off < 0 { "clock back" } else { "clock forward" });
        self.note(format_args!("r{number} clock off by {off} s"));
    }

    /// One that hears nothing of the store for more than an hour believes no token without a period,
    /// whether or not it can write: before the first mark, an hour after the token was made, maybe by
    /// whoever's clock is ahead.
    async fn cut_off_for_long(&mut self) {
        let number = self.chance.of(&match self.running() {
            running if running.is_empty() => return,
            running => running,
        });
        let is_cut_off =
            |token: &crate::facts::Token| !token.is_periodic && token.standing == Standing::Good;
        let Some(token) = self.facts.tokens.iter().position(is_cut_off) else { return };
        let key = self.facts.tokens[token].key.clone();
        let moods = [store::Mood::Partitioned, store::Mood::NoWatch];
        self.set_store(number, self.chance.of(&moods));
        self.replicas[number].clock.is_off_by(0);
        self.befell("cut off for more than an hour");
        self.pass(BELIEVED + QUIET + Duration::from_secs(self.clock_ahead)).await;
        let Some(server) = self.replicas[number].server.clone() else { return };
        let ask = Ask::Encrypt { by: By::Token(token), key, plaintext: self.plaintext() };
        let answer = ask.request(&self.facts, None).send(server).await;
        if answer.status == 200 {
            self.broken(format_args!("r{number} believed a token long after it was cut off"));
        }
        self.set_store(number, store::Mood::Well);
    }

    /// When nothing is wrong any more, and it has been so for a while, everything is as promised.
    async fn end(&mut self) {
        self.heal().await;
        if self.planted == Some(Planted::PurgedKek) {
            self.clouds.iter().for_each(|cloud| cloud.destroy());
        }
        self.pass(2 * QUIET + Duration::from_secs(60)).await;
        let keys: Vec<_> = self.facts.keys.keys().cloned().collect();
        let mut asks = Vec::new();
        for key in keys.iter().map(String::as_str).chain([DECLARED]) {
            let good = |token: &crate::facts::Token| {
                token.key == key && token.is_periodic && token.standing == Standing::Good
            };
            let by = match self.facts.tokens.iter().position(good) {
                _ if key == DECLARED => By::Vault,
                Some(token) => By::Token(token),
                None => continue,
            };
            for to in 0..self.replicas.len() {
                let plaintext = self.plaintext();
                asks.push((to, Ask::Encrypt { by, key: key.to_owned(), plaintext }));
            }
            let of_key = |blob: &usize| self.facts.blobs[*blob].key == key;
            let blobs: Vec<_> = (0..self.facts.blobs.len()).filter(of_key).collect();
            let some = blobs.iter().take(3).chain(blobs.iter().skip(3).rev().take(3));
            for blob in some.copied() {
                let to = self.chance.index(self.replicas.len());
                asks.push((to, Ask::Decrypt { by, blob }));
            }
            if let Some(blob) = blobs.last().copied() {
                let to = self.chance.index(self.replicas.len());
                asks.push((to, Ask::Rewrap { by, blob }));
            }
        }
        for (number, token) in self.facts.tokens.iter().enumerate() {
            if matches!(token.standing, Standing::Revoked { .. }) {
                let (by, key) = (By::Token(number), token.key.clone());
                let to = self.chance.index(self.replicas.len());
                asks.push((to, Ask::Encrypt { by, key, plaintext: self.plaintext() }));
            }
        }
        for (to, ask) in asks {
            self.ask_all(vec![(to, ask)], None).await;
        }
    }
}
