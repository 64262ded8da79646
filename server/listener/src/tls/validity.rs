//! How long the server's own certificate is good.

use rustls_pki_types::CertificateDer;
use selkie_certificate::{ClientCertificate, issuer_not_after};

const DAY: u64 = 86_400;
/// A certificate that people renew takes them about this long.
const SOON: u64 = 30 * DAY;

/// What clients will think of a listener's certificate: between which times it is good, in seconds
/// since 1970, and whether it is that of a server at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From here on.
    pub from: u64,
    /// Until here.
    pub until: u64,
    /// Until when its issuer's certificate is good that is sent with it, if that is sooner.
    pub issuers_until: Option<u64>,
    /// Whether it is a CA's own. Some clients take it for a server all the same.
    pub is_ca: bool,
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
    /// handshake will have its own opinion. Of the rest only that of its issuer counts, the last of
    /// several: clients take another way to what they trust where a cross-signed root or a spare
    /// intermediate has expired.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let read = ClientCertificate::read(chain).ok().flatten()?;
        let issuers = issuer_not_after(chain).ok().flatten();
        let issuers_until = issuers.filter(|until| *until < read.not_after);
        let (from, until) = (read.not_before, read.not_after);
        Some(Self { from, until, issuers_until, is_ca: read.is_ca })
    }

    /// Until when it is good together with what is sent with it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.issuers_until.unwrap_or(self.until)
    }

    /// How it stands at `now`, in seconds since 1970.
    #[must_use]
    pub fn standing(&self, now: u64) -> Standing {
        if now > self.until {
            Standing::Expired
        } else if now < self.from {
            Standing::NotYet
        } else {
            self.until_end(self.until, now)
        }
    }

    /// How it stands with its issuer's at `now`, in seconds since 1970.
    #[must_use]
    pub fn issuers_standing(&self, now: u64) -> Standing {
        match self.issuers_until {
            None => Standing::Good,
            Some(until) if now > until => Standing::Expired,
            Some(until) => self.until_end(until, now),
        }
    }

    fn until_end(&self, end: u64, now: u64) -> Standing {
        let quarter = end.saturating_sub(self.from) / 4;
        if end.saturating_sub(now) < quarter.min(SOON) {
            Standing::EndsSoon
        } else {
            Standing::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
        date_time_ymd,
    };

    use super::*;

    /// An authority of this name whose certificate ends in this year.
    fn authority(name: &str, key: KeyPair, year: i32) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        CertifiedIssuer::self_signed(params, key).unwrap()
    }

    fn leaf(issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, issuer).unwrap().der().clone()
    }

    #[test]
    fn the_issuers_certificate_counts_unless_another_of_its_name_is_good_for_longer() {
        const YEAR_2020: u64 = 1_577_836_800;
        let of = |year| authority("intermediate", KeyPair::generate().unwrap(), year);
        let (ended, good) = (of(2020), of(2040));
        let (leaf, spare) = (leaf(&ended), authority("root", KeyPair::generate().unwrap(), 2020));
        let (ended, good) = (ended.der().clone(), good.der().clone());
        let until = |chain: &[&CertificateDer<'static>]| {
            let chain: Vec<_> = chain.iter().map(|one| (*one).clone()).collect();
            let validity = Validity::of(&chain).unwrap();
            (validity.end(), validity.issuers_until.is_some())
        };
        let (own, is_issuers) = until(&[&leaf]);
        assert!(!is_issuers);
        assert_eq!(until(&[&leaf, &ended]), (YEAR_2020, true));
        assert_eq!(until(&[&leaf, &ended, &good]), (own, false));
        assert_eq!(until(&[&leaf, &good, spare.der()]), (own, false));
    }

    #[test]
    fn an_authority_and_its_leaf_are_told_apart() {
        let authority = authority("root", KeyPair::generate().unwrap(), 2040);
        let is_ca = |chain: &[CertificateDer<'static>]| Validity::of(chain).unwrap().is_ca;
        let (leaf, own) = (leaf(&authority), authority.der().clone());
        assert!(!is_ca(&[leaf, own.clone()]) && is_ca(&[own]));
    }

    #[test]
    fn the_last_thirty_days_of_a_year_and_the_last_quarter_of_a_day_are_soon() {
        let year = Validity { from: 0, until: 365 * DAY, issuers_until: None, is_ca: false };
        let of = |day: u64| year.standing(day * DAY);
        assert_eq!([of(0), of(334)], [Standing::Good; 2]);
        assert_eq!([of(336), of(365)], [Standing::EndsSoon; 2]);
        assert_eq!(of(366), Standing::Expired);
        let day = Validity { from: DAY, until: 2 * DAY, issuers_until: None, is_ca: false };
        assert_eq!(day.standing(DAY - 1), Standing::NotYet);
        assert_eq!(day.standing(DAY + DAY / 2), Standing::Good);
        assert_eq!(day.standing(2 * DAY - DAY / 8), Standing::EndsSoon);
    }
}
