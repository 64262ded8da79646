//! How long the server's own certificate is good.

use rustls_pki_types::CertificateDer;
use selkie_certificate::ClientCertificate;

const DAY: u64 = 86_400;
/// A certificate that people renew takes them about this long.
const SOON: u64 = 30 * DAY;

/// Between which times a listener's certificate is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From here on.
    pub from: u64,
    /// Until here.
    pub until: u64,
}

/// How it stands with a certificate at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is good.
    Good,
    /// It is good for 30 more days at most, or for the last quarter of a shorter life.
    EndsSoon,
    /// It is not good yet.
    NotYet,
    /// It is not good any more.
    Expired,
}

impl Validity {
    /// Of the certificate that `chain` begins with; `None` if it does not say, in which case the
    /// handshake will have its own opinion. The rest does not count: clients take another way to what
    /// they trust where a cross-signed root or a spare intermediate has expired.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let read = ClientCertificate::read(chain).ok().flatten()?;
        Some(Self { from: read.not_before, until: read.not_after })
    }

    /// How it stands at `now`, in seconds since 1970.
    #[must_use]
    pub fn standing(&self, now: u64) -> Standing {
        let quarter = self.until.saturating_sub(self.from) / 4;
        if now > self.until {
            Standing::Expired
        } else if now < self.from {
            Standing::NotYet
        } else if self.until.saturating_sub(now) < quarter.min(SOON) {
            Standing::EndsSoon
        } else {
            Standing::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thirty_days_of_a_year_and_the_last_quarter_of_a_day_are_soon() {
        let year = Validity { from: 0, until: 365 * DAY };
        let of = |day: u64| year.standing(day * DAY);
        assert_eq!([of(0), of(334)], [Standing::Good; 2]);
        assert_eq!([of(336), of(365)], [Standing::EndsSoon; 2]);
        assert_eq!(of(366), Standing::Expired);
        let day = Validity { from: DAY, until: 2 * DAY };
        assert_eq!(day.standing(DAY - 1), Standing::NotYet);
        assert_eq!(day.standing(DAY + DAY / 2), Standing::Good);
        assert_eq!(day.standing(2 * DAY - DAY / 8), Standing::EndsSoon);
    }
}
