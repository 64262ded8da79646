//! What must hold of every answer.

use std::time::Duration;

use tokio::time::Instant;

use crate::ask::{Ask, By};
use crate::facts::{Blob, Key, Minimum, Standing, Token};
use crate::kms::Mood;
use crate::server::{Answer, DECLARED};
use crate::world::{BELIEVED, QUIET, SEALS, World};

/// The patience of a seal client (invariant I10), and what the way takes.
const ENCRYPT_PATIENCE: Duration = Duration::from_millis(1_550);
const DECRYPT_PATIENCE: Duration = Duration::from_millis(15_050);

/// A request that was sent, and what was known then.
pub(crate) struct Sent {
    pub(crate) ask: Ask,
    pub(crate) to: usize,
    pub(crate) at: Instant,
    /// What was known of its key.
    pub(crate) key: Option<Key>,
}

/// What has to come of a request, as far as policies and tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permitted {
    Must,
    May,
    MustNot,
}

impl World {
    pub(crate) fn judge(&mut self, sent: &Sent, answer: &Answer) {
        let line = sent.ask.line(&self.facts);
        let (to, took) = (sent.to, answer.took.as_millis());
        let told = match (answer.error(), answer.data("ciphertext").as_str()) {
            ("", None) => String::new(),
            ("", Some(ciphertext)) => {
                let (version, kids) = read(ciphertext);
                let kids = kids.iter().map(|(kms, kid)| format!(" {} {kid}", SEALS[*kms]));
                format!(": v{version} for{}", kids.collect::<String>())
            }
            (text, _) => format!(" {text:?}"),
        };
        self.note(format_args!("r{to} {line}: {} in {took} ms{told}", answer.status));
        if !matches!(answer.status, 0 | 200 | 204 | 400 | 403 | 503) {
            self.broken(format_args!("an answer of status {} to: {line}", answer.status));
        }
        match sent.ask.clone() {
            Ask::Encrypt { by, key, plaintext } => {
                let permitted = self.permitted(sent, by, &key);
                if permitted != Permitted::MustNot {
                    self.judge_time(&line, answer, ENCRYPT_PATIENCE);
                }
                self.judge_permit(&line, permitted, answer);
                let must = self.must_encrypt(sent, &key, permitted);
                self.judge_encrypted(sent, &key, plaintext, (must, answer));
            }
            Ask::Decrypt { by, blob } => {
                self.judge_time(&line, answer, DECRYPT_PATIENCE);
                let key = self.facts.blobs[blob].key.clone();
                let permitted = self.permitted(sent, by, &key);
                self.judge_permit(&line, permitted, answer);
                self.judge_opened(sent, blob, permitted, answer);
                if answer.status == 200
                    && *answer.data("plaintext") != *self.facts.blobs[blob].plaintext
                {
                    self.broken(format_args!("another plaintext: {line}"));
                }
            }
            Ask::Rewrap { by, blob } => {
                self.judge_time(&line, answer, DECRYPT_PATIENCE + ENCRYPT_PATIENCE);
                let Blob { key, plaintext, .. } = self.facts.blobs[blob].clone();
                let permitted = self.permitted(sent, by, &key);
                self.judge_permit(&line, permitted, answer);
                let must = self.must_open(sent, blob, permitted)
                    && self.must_encrypt(sent, &key, permitted);
                self.judge_minimum(sent, blob, answer);
                self.judge_encrypted(sent, &key, plaintext, (must, answer));
            }
            operation => self.take_note(sent, operation, answer),
        }
    }

    /// What an operator knows from then on.
    fn take_note(&mut self, sent: &Sent, ask: Ask, answer: &Answer) {
        match ask {
            Ask::CreateKey { key } if answer.is_ok() => {
                let made = || Key::new(Instant::now());
                self.facts.keys.entry(key.clone()).or_insert_with(made);
                self.saw_latest(sent, &key, answer);
            }
            Ask::Rotate { key } => self.saw_latest(sent, &key, answer),
            Ask::Configure { key, min_decryption } => {
                let (at, by) = (Instant::now(), sent.to);
                let minimum = Minimum { version: min_decryption, at, by };
                if !answer.is_refused()
                    && let Some(known) = self.facts.keys.get_mut(&key)
                {
                    known.is_configured(minimum, answer.is_ok());
                }
            }
            Ask::CreateToken { key, is_periodic } => {
                if let Some(text) = answer.json["auth"]["client_token"].as_str() {
                    self.facts.tokens.push(Token {
                        text: text.to_owned(),
                        key,
                        made: Instant::now(),
                        is_periodic,
                        standing: Standing::Good,
                    });
                }
            }
            Ask::Revoke { token } => {
                let standing = &mut self.facts.tokens[token].standing;
                *standing = match (*standing, answer.status) {
                    (Standing::Revoked { at, by }, _) => Standing::Revoked { at, by },
                    (_, 204) => Standing::Revoked { at: Instant::now(), by: sent.to },
                    _ => Standing::Unknown,
                };
            }
            Ask::WritePolicy { key } if answer.is_ok() => {
                self.facts.policies.entry(key).or_insert_with(Instant::now);
            }
            _ => {}
        }
    }

    fn judge_time(&mut self, line: &str, answer: &Answer, patience: Duration) {
        if answer.status != 0 && answer.took > patience {
            self.broken(format_args!("I10: {:?} for: {line}", answer.took));
        }
    }

    fn judge_permit(&mut self, line: &str, permitted: Permitted, answer: &Answer) {
        match permitted {
            Permitted::MustNot if answer.status == 200 => {
                self.broken(format_args!("I9: done without a permit: {line}"));
            }
            Permitted::Must if answer.status == 403 => {
                self.broken(format_args!("refused although it is permitted: {line}"));
            }
            _ => {}
        }
    }

    fn permitted(&self, sent: &Sent, by: By, key: &str) -> Permitted {
        if by.key(&self.facts) != Some(key) {
            return Permitted::MustNot;
        }
        let By::Token(number) = by else { return Permitted::Must };
        let (token, replica) = (&self.facts.tokens[number], &self.replicas[sent.to]);
        match token.standing {
            Standing::Unknown => Permitted::May,
            // Revoked after it was sent, perhaps while it was under way.
            Standing::Revoked { at, .. } if at >= sent.at => Permitted::May,
            Standing::Revoked { at, by } => {
                let is_same_life = by == sent.to && replica.started < at;
                let ahead = Duration::from_secs(self.clock_ahead);
                let is_stale = !token.is_periodic && sent.at >= at + BELIEVED + QUIET + ahead;
                if is_same_life || is_stale || replica.knows_store_of(at, sent.at) {
                    Permitted::MustNot
                } else {
                    Permitted::May
                }
            }
            Standing::Good if !token.is_periodic => Permitted::May,
            Standing::Good => match self.facts.policies.get(key) {
                Some(written) if replica.knows_store_of(token.made.max(*written), sent.at) => {
                    Permitted::Must
                }
                _ => Permitted::May,
            },
        }
    }

    /// Whether a replica of which nothing was wrong must do what it is asked with `key`.
    fn has_all(&self, sent: &Sent, key: &str, permitted: Permitted) -> bool {
        let replica = &self.replicas[sent.to];
        let Some(known) = &sent.key else { return false };
        let knows_key = key == DECLARED || replica.knows_store_of(known.made, sent.at);
        let is_started = sent.at >= replica.started + QUIET;
        let is_clock_right = replica.is_clock_right(sent.at);
        permitted == Permitted::Must && knows_key && is_started && is_clock_right
    }

    /// Whether the replica must be able to wrap for `key`, also if a KMS is away that it does not
    /// need (invariant I2).
    fn must_encrypt(&self, sent: &Sent, key: &str, permitted: Permitted) -> bool {
        let (replica, changed) = (&self.replicas[sent.to], self.keks_changed);
        let wraps = |kms: usize| {
            self.disabled[kms]
                || replica.wraps_for(kms, self.clouds[kms].is_local(), changed, sent.at)
        };
        self.has_all(sent, key, permitted)
            && self.has_state(sent, key)
            && (0..SEALS.len()).all(wraps)
            && replica.knows_store_of(changed, sent.at)
            && self.clouds.iter().all(|cloud| cloud.is_current_enabled())
            && sent.at >= changed + QUIET
    }

    fn judge_encrypted(
        &mut self,
        sent: &Sent,
        key: &str,
        plaintext: String,
        (must, answer): (bool, &Answer),
    ) {
        let now = Instant::now();
        let (to, replica) = (sent.to, &self.replicas[sent.to]);
        if answer.status != 200 {
            if must && answer.status != 0 {
                self.broken(format_args!("r{to} does not encrypt under {key} although it is well"));
            }
            return;
        }
        let is_kms_away = (0..SEALS.len()).any(|kms| {
            let is_silent = matches!(replica.kms[kms].mood(), Mood::Away | Mood::Hanging);
            is_silent && !self.disabled[kms] && replica.has_confirmed(kms, self.keks_changed)
        });
        if must && is_kms_away {
            self.befell("encrypted without its kms");
        }
        let replica = &self.replicas[to];
        let Some(ciphertext) = answer.data("ciphertext").as_str() else {
            return self.broken(format_args!("an encrypt without ciphertext"));
        };
        let (version, kids) = read(ciphertext);
        let behind = sent.key.as_ref().filter(|known| version < known.seen).map(|known| {
            let is_in_touch = match key {
                // A version that is disabled is passed over by who did not follow it before.
                DECLARED => {
                    let passed_over = self.passed_over.unwrap_or(known.seen_at);
                    self.are_current_enabled()
                        && replica.knows_keks_of(known.seen_at.max(passed_over), sent.at)
                }
                _ => replica.knows_store_of(known.seen_at, sent.at),
            };
            (known.seen, is_in_touch)
        });
        let of_replica = sent.key.as_ref().and_then(|known| known.seen_of.get(&to)).copied();
        if of_replica.is_some_and(|seen| version < seen) {
            self.broken(format_args!(
                "I7: {key} of r{to} went back from {of_replica:?} to {version}"
            ));
        }
        if let Some((seen, true)) = behind {
            self.broken(format_args!("I7: r{to} is at v{version} of {key}, which was at v{seen}"));
        }
        let mut seals: Vec<_> = kids.iter().map(|(kms, _)| *kms).collect();
        seals.sort_unstable();
        let enabled: Vec<_> = (0..SEALS.len()).filter(|kms| !self.disabled[*kms]).collect();
        if seals.is_empty() || ((must || key == DECLARED) && seals != enabled) {
            self.broken(format_args!("I1: a ciphertext for {seals:?} instead of {enabled:?}"));
        }
        let ciphertext = ciphertext.to_owned();
        self.saw(key, to, version);
        let made = now;
        let key = key.to_owned();
        self.facts.blobs.push(Blob { key, ciphertext, plaintext, version, kids, made });
    }

    fn saw(&mut self, key: &str, replica: usize, version: u32) {
        let now = Instant::now();
        let known = self.facts.keys.entry(key.to_owned()).or_insert_with(|| Key::new(now));
        known.saw(replica, version, now);
    }

    fn judge_opened(&mut self, sent: &Sent, blob: usize, permitted: Permitted, answer: &Answer) {
        self.judge_minimum(sent, blob, answer);
        if matches!(answer.status, 0 | 200) {
            return;
        }
        let line = sent.ask.line(&self.facts);
        if self.must_open(sent, blob, permitted) {
            self.broken(format_args!("I1: {} {:?} to: {line}", answer.status, answer.error()));
        }
        // After this answer a client may give the ciphertext up.
        let is_called_forged = answer.error().contains("message authentication failed");
        let lies = self.replicas[sent.to].kms.iter().any(|road| road.mood() == Mood::Lying);
        if is_called_forged && !lies && self.must_know(sent, blob, permitted) {
            self.broken(format_args!("I4: called forged, and is genuine: {line}"));
        }
    }

    /// What is below a minimum that was set for certain is not opened.
    fn judge_minimum(&mut self, sent: &Sent, blob: usize, answer: &Answer) {
        let blob = &self.facts.blobs[blob];
        let Some(known) = &sent.key else { return };
        let Some(Minimum { version, at, by }) = known.min_certain else { return };
        let replica = &self.replicas[sent.to];
        let has_heard =
            (by == sent.to && replica.started < at) || replica.knows_store_of(at, sent.at);
        let unsure = known.min_unsure.min(self.facts.keys[&blob.key].min_unsure);
        if !has_heard || blob.version >= version.min(unsure) {
            return;
        }
        self.befell("asked for what is below the minimum");
        if answer.status == 200 {
            let line = sent.ask.line(&self.facts);
            self.broken(format_args!("min_decryption_version is v{version}, and yet: {line}"));
        }
    }

    /// Whether the replica knows all of the key that it takes to decrypt this.
    fn must_know(&self, sent: &Sent, blob: usize, permitted: Permitted) -> bool {
        let (blob, replica) = (&self.facts.blobs[blob], &self.replicas[sent.to]);
        let min_decryption = sent.key.as_ref().map_or(u32::MAX, |known| {
            known.min_decryption.max(self.facts.keys[&blob.key].min_decryption)
        });
        let knows_version = match blob.key.as_str() {
            DECLARED => replica.knows_keks_of(blob.made, sent.at),
            _ => replica.knows_store_of(blob.made, sent.at),
        };
        self.has_all(sent, &blob.key, permitted) && blob.version >= min_decryption && knows_version
    }

    /// Whether it must decrypt this, since one of its master keys lives and is reached.
    fn must_open(&self, sent: &Sent, blob: usize, permitted: Permitted) -> bool {
        let replica = &self.replicas[sent.to];
        let opens = |(kms, kid): &(usize, String)| {
            replica.reaches(*kms, sent.at)
                && self.clouds[*kms].is_enabled(kid)
                && sent.at >= self.keks_changed + QUIET
        };
        let Blob { key, kids, .. } = &self.facts.blobs[blob];
        self.has_state(sent, key) && self.must_know(sent, blob, permitted) && kids.iter().any(opens)
    }

    /// Whether the replica must have opened the state, if the key is in it: it has reached a seal that
    /// opens it, and each that it may be for alone.
    fn has_state(&self, sent: &Sent, key: &str) -> bool {
        let replica = &self.replicas[sent.to];
        // The state may be for any version that there has been.
        let opens = |kms: usize| {
            let is_reached =
                replica.has_confirmed(kms, replica.started) || replica.reaches(kms, sent.at);
            is_reached && self.clouds[kms].opens_all()
        };
        let mut all = 0..SEALS.len();
        key == DECLARED
            || (all.clone().any(opens) && all.all(|kms| !self.was_alone[kms] || opens(kms)))
    }

    fn saw_latest(&mut self, sent: &Sent, key: &str, answer: &Answer) {
        let latest = answer.data("latest_version").as_u64();
        if let (true, Some(latest)) = (answer.is_ok(), latest) {
            self.saw(key, sent.to, u32::try_from(latest).unwrap());
        }
    }
}

/// The version of a ciphertext, and what it was wrapped for.
fn read(ciphertext: &str) -> (u32, Vec<(usize, String)>) {
    let parsed = selkie_crypto::Ciphertext::parse(ciphertext).unwrap();
    let version = u32::try_from(parsed.version()).unwrap();
    let json = parsed.into_envelope_bytes().unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let recipients = envelope["recipients"].as_array().unwrap().iter().filter_map(|one| {
        let header = &one["header"];
        let kms = SEALS.iter().position(|name| header["seal"] == *name)?;
        Some((kms, header["kid"].as_str()?.to_owned()))
    });
    (version, recipients.collect())
}
