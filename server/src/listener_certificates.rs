//! The listeners' own certificates: when they end, told before it is too late, and whether they are a
//! CA's. A server starts with one that has expired, for a client may not look; but it says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use selkie_listener::{Standing, Validity};

const DAY: u64 = 86_400;

const CA_OWN: &str = "is a CA's own (CA:TRUE, as a self-signed one is): Selkie's commands and seals do \
                      not connect";

/// The certificates that listeners show, by the listeners' addresses.
#[derive(Debug, Default)]
pub struct ListenerCertificates(Mutex<BTreeMap<String, Validity>>);

/// What is worth telling of a listener's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    matter: Matter,
    validity: Validity,
    now: u64,
}

/// How it stands with its time; that it is a CA's own is told beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter {
    /// It stands so.
    Own(Standing),
    /// The issuer's certificate that is sent with it stands so.
    Issuers(Standing),
}

impl ListenerCertificates {
    /// `listener` shows a certificate of this validity from now on, or none that tells it.
    pub fn note(&self, listener: &str, validity: Option<Validity>, now: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(validity) = validity else {
            all.remove(listener);
            return;
        };
        all.insert(listener.to_owned(), validity);
        drop(all);
        if let Some(notice) = Notice::of(validity, now) {
            tracing::warn!(listener, advice = notice.advice(), "the listener's {notice}");
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Validity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Notice {
    /// What there is to tell at `now`, in seconds since 1970.
    #[must_use]
    pub fn of(validity: Validity, now: u64) -> Option<Self> {
        let (own, issuers) = (validity.standing(now), validity.issuers_standing(now));
        // Where all clients refuse its own already, what only some look at is nobody's first trouble.
        let matter = match (own, issuers) {
            (Standing::Expired | Standing::NotYet, _) | (_, Standing::Good) => Matter::Own(own),
            _ => Matter::Issuers(issuers),
        };
        let is_worth_telling = validity.is_ca || matter != Matter::Own(Standing::Good);
        is_worth_telling.then_some(Self { matter, validity, now })
    }

    /// Whether all clients that look at the certificate refuse it already. Of its issuer's they may
    /// have another; and OpenSSL and Go take a CA's for a server.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.matter, Matter::Own(Standing::Expired | Standing::NotYet))
    }

    /// Whether it only is not good yet, and will be in so many seconds at most.
    #[must_use]
    pub fn passes_within(&self, seconds: u64) -> bool {
        let wait = self.validity.from.saturating_sub(self.now);
        self.matter == Matter::Own(Standing::NotYet) && wait <= seconds
    }

    /// What mends it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self.matter {
            Matter::Own(Standing::NotYet) => {
                "correct this machine's clock, or have it issued anew, and reload (SIGHUP): clients \
                 that verify it do not connect"
            }
            _ if self.validity.is_ca => {
                "keep it for the clients as their CA file (one that ends has to be renewed there as \
                 well), have it issue another for the listener (openssl req -x509 -CA ca.pem -CAkey \
                 ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -keyout key.pem \
                 -out cert.pem -subj /CN=selkie -addext basicConstraints=critical,CA:FALSE -addext \
                 subjectAltName=DNS:NAME,IP:ADDRESS), and reload (SIGHUP)"
            }
            Matter::Issuers(Standing::Expired | Standing::EndsSoon) => {
                "put the authority's new intermediate certificate into the listener's file and reload \
                 (SIGHUP): without it clients do not connect, unless they know another way to their \
                 authority"
            }
            Matter::Own(Standing::Expired) => {
                "renew it and reload (SIGHUP): clients that verify it do not connect"
            }
            Matter::Own(_) | Matter::Issuers(_) => "renew it and reload (SIGHUP)",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Validity { from, until, is_ca, .. } = self.validity;
        let (what, until, standing) = match self.matter {
            Matter::Own(Standing::Good) if is_ca => return write!(f, "certificate {CA_OWN}"),
            Matter::Own(standing) => ("certificate", until, standing),
            Matter::Issuers(standing) => {
                ("intermediate certificate", self.validity.end(), standing)
            }
        };
        let days = until.abs_diff(self.now) / DAY;
        match standing {
            Standing::Good => write!(f, "{what} is valid until {}", At(until)),
            Standing::EndsSoon => write!(f, "{what} ends in {days} days ({})", At(until)),
            Standing::NotYet => write!(f, "{what} is not good before {}", At(from)),
            Standing::Expired => write!(f, "{what} expired {days} days ago ({})", At(until)),
        }?;
        if is_ca { write!(f, "; and the certificate {CA_OWN}") } else { Ok(()) }
    }
}

/// A time in seconds since 1970, for people.
#[derive(Clone, Copy, Debug)]
pub struct At(pub u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).ok();
        match seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} seconds after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::Log;

    fn told(now: u64) -> Option<(String, bool)> {
        let validity =
            Validity { from: 100 * DAY, until: 500 * DAY, issuers_until: None, is_ca: false };
        Notice::of(validity, now).map(|notice| (notice.to_string(), notice.is_refused()))
    }

    #[test]
    fn what_clients_refuse_or_soon_will_is_told() {
        assert_eq!(told(200 * DAY), None);
        let text = |text: &str, is_refused| Some((text.to_owned(), is_refused));
        let soon = "certificate ends in 9 days (1971-05-16T00:00:00Z)";
        assert_eq!(told(491 * DAY), text(soon, false));
        let late = "certificate expired 3 days ago (1971-05-16T00:00:00Z)";
        assert_eq!(told(503 * DAY), text(late, true));
        let early = "certificate is not good before 1970-04-11T00:00:00Z";
        assert_eq!(told(99 * DAY), text(early, true));
    }

    #[test]
    fn an_intermediate_that_ended_is_told_as_such_and_warned_of() {
        let issuers_until = Some(500 * DAY);
        let validity = Validity { from: 100 * DAY, until: 520 * DAY, issuers_until, is_ca: false };
        let notice = |now| Notice::of(validity, now).unwrap();
        for now in [503, 519] {
            let told = format!("intermediate certificate expired {} days ago", now - 500);
            let notice = notice(now * DAY);
            assert_eq!(notice.to_string(), format!("{told} (1971-05-16T00:00:00Z)"));
            assert!(!notice.is_refused() && notice.advice().contains("intermediate"));
        }
        let own = notice(521 * DAY);
        assert_eq!(own.to_string(), "certificate expired 1 days ago (1971-06-05T00:00:00Z)");
        assert!(own.is_refused() && !own.advice().contains("intermediate"));
    }

    #[test]
    fn a_cas_own_certificate_is_told_beside_its_end_and_refused_for_that_alone() {
        let validity =
            Validity { from: 100 * DAY, until: 500 * DAY, issuers_until: None, is_ca: true };
        let (soon, late) = ("certificate ends in 9 days", "certificate expired 1 days ago");
        for (now, standing) in [(200, ""), (491, soon), (501, late)] {
            let notice = Notice::of(validity, now * DAY).unwrap();
            let text = notice.to_string();
            assert!(text.contains("a CA's own") && text.contains(standing), "{text}");
            assert_eq!(notice.is_refused(), now == 501, "{text}");
            assert!(notice.advice().contains("CA:FALSE"));
        }
        let issuers_until = Some(499 * DAY);
        let text = Notice::of(Validity { issuers_until, ..validity }, 499 * DAY + 1).unwrap();
        let text = text.to_string();
        assert!(text.contains("intermediate certificate") && text.contains("a CA's own"), "{text}");
        let log = Log::start();
        ListenerCertificates::default().note("one", Some(validity), 200 * DAY);
        let text = log.take();
        assert!(text.contains("WARN") && text.contains("CA:FALSE"), "{text}");
    }

    #[test]
    fn a_listener_that_speaks_tls_no_more_has_none() {
        let certificates = ListenerCertificates::default();
        let validity = Validity { from: 0, until: DAY, issuers_until: None, is_ca: false };
        certificates.note("one", Some(validity), 0);
        certificates.note("two", Some(validity), 0);
        certificates.note("one", None, 0);
        assert_eq!(certificates.all(), BTreeMap::from([("two".to_owned(), validity)]));
    }
}
