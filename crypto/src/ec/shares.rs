//! Shares of a break-glass key, for several people of whom then nobody holds it alone.

use selkie_memory::{WipedVec, with_scrubbed_stack};

use super::{EcCurve, EcPrivateKey, EcPrivateKeyError};
use crate::envelope::Quorum;
use crate::{Random, RecipientSecret, shamir};

impl EcPrivateKey {
    /// The private number in shares, in the order of their indexes from 1; as many of them as are
    /// needed give the key back, and fewer say nothing about it.
    ///
    /// Each share is 32 bytes, and kept as an X25519 key, which any 32 bytes are: so it is protected
    /// as a key is, and opens with `openssl pkey` too. Alone it is the key of nothing.
    ///
    /// # Errors
    ///
    /// [`EcPrivateKeyError::Random`], [`EcPrivateKeyError::Page`].
    pub fn split(&self, quorum: Quorum, random: &Random) -> Result<Vec<Self>, EcPrivateKeyError> {
        let powers = usize::from(quorum.needed().saturating_sub(1));
        let mut coefficients = WipedVec::new(vec![0; powers.saturating_mul(32)]);
        random(&mut coefficients).map_err(EcPrivateKeyError::Random)?;
        let number = self.as_secret();
        let share = |index| {
            let share = with_scrubbed_stack(|| shamir::share(&number, &coefficients, index));
            Self::from_number(EcCurve::X25519, share.expose_for_wrap())
        };
        (1..=quorum.of()).map(share).collect()
    }

    /// The key on `curve` of which these are shares, by their indexes, which must be distinct and not
    /// 0. From too few or from others' shares comes some other key, or none: whoever asks compares
    /// the public half.
    ///
    /// # Errors
    ///
    /// [`EcPrivateKeyError::Malformed`], [`EcPrivateKeyError::Page`].
    pub fn combine(curve: EcCurve, shares: &[(u8, &Self)]) -> Result<Self, EcPrivateKeyError> {
        let secrets: Vec<_> =
            shares.iter().map(|(index, share)| (*index, share.as_secret())).collect();
        let shares: Vec<_> = secrets.iter().map(|(index, share)| (*index, share)).collect();
        let number = with_scrubbed_stack(|| shamir::combine(&shares));
        Self::from_number(curve, number.expose_for_wrap())
    }

    fn as_secret(&self) -> RecipientSecret {
        RecipientSecret::init_with(|copy| *copy = *self.number.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os_random;

    #[test]
    fn any_shares_as_many_as_are_needed_give_the_key_back() {
        for curve in EcCurve::ALL {
            let key = EcPrivateKey::generate(curve, &os_random).unwrap();
            let shares = key.split(Quorum::new(2, 3).unwrap(), &os_random).unwrap();
            for (one, other) in [(1, 2), (1, 3), (3, 2)] {
                let shares = [one, other].map(|index: u8| (index, &shares[usize::from(index) - 1]));
                let combined = EcPrivateKey::combine(curve, &shares).unwrap();
                assert_eq!(combined.public_key().spki_der(), key.public_key().spki_der());
            }
        }
    }

    #[test]
    fn fewer_shares_or_others_give_another_key() {
        let key = EcPrivateKey::generate(EcCurve::X25519, &os_random).unwrap();
        let quorum = Quorum::new(2, 2).unwrap();
        let shares = key.split(quorum, &os_random).unwrap();
        let others = key.split(quorum, &os_random).unwrap();
        for wrong in [vec![(1, &shares[0])], vec![(1, &shares[0]), (2, &others[1])]] {
            let combined = EcPrivateKey::combine(EcCurve::X25519, &wrong).unwrap();
            assert_ne!(combined.public_key().spki_der(), key.public_key().spki_der());
        }
    }

    #[test]
    fn a_share_outlives_its_protection() {
        let key = EcPrivateKey::generate(EcCurve::P256, &os_random).unwrap();
        let shares = key.split(Quorum::new(2, 2).unwrap(), &os_random).unwrap();
        let protected =
            shares.iter().map(|share| share.protect(b"passphrase", &os_random).unwrap());
        let read: Vec<_> =
            protected.map(|text| EcPrivateKey::unprotect(&text, b"passphrase").unwrap()).collect();
        let combined = EcPrivateKey::combine(EcCurve::P256, &[(1, &read[0]), (2, &read[1])]);
        assert_eq!(combined.unwrap().public_key().spki_der(), key.public_key().spki_der());
    }
}
