//! Which revocation lists count. webpki goes by an issuer's name, and takes the first list that it
//! finds for a certificate: an older one before the one that revokes, or one of a key that the issuer
//! had before.

use std::collections::BTreeSet;

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::TlsError;
use super::pem::RevocationList;

/// Of each issuer, key and scope the newest list; newer ones come first. All of those that name no
/// key: they may be of different ones.
pub(super) fn newest(mut lists: Vec<RevocationList>) -> Vec<RevocationList> {
    // Of two of the same age the one that was read last: sorting keeps their order.
    lists.reverse();
    lists.sort_by(|one, other| other.facts.edition.cmp(&one.facts.edition));
    let mut seen = BTreeSet::new();
    lists.retain(|RevocationList { facts, .. }| {
        let key = facts.authority_key_id.clone();
        key.is_none() || seen.insert((facts.issuer.clone(), key, facts.distribution_point.clone()))
    });
    lists
}

/// Revocation lists, by which a certificate that is otherwise good is judged.
#[derive(Debug)]
pub(super) struct Revocations {
    /// Newer ones come first.
    lists: Vec<List>,
    is_strict: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct List {
    content: CertRevocationList<'static>,
    /// Whether there are others of its issuer, so that webpki may not come to it.
    has_others: bool,
}

/// What is judged.
#[derive(Clone, Copy)]
pub(super) struct Presented<'p> {
    pub(super) roots: &'p RootCertStore,
    pub(super) end_entity: &'p CertificateDer<'p>,
    pub(super) intermediates: &'p [CertificateDer<'p>],
    pub(super) now: UnixTime,
}

impl Revocations {
    /// `lists` are the newest, in order.
    pub(super) fn read(
        lists: &[RevocationList],
        is_strict: bool,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let read = |list: &RevocationList| {
            let content = OwnedCertRevocationList::from_der(&list.der);
            let unsupported =
                |source| TlsError::UnsupportedRevocationList { file: list.file.clone(), source };
            let of_issuer = lists.iter().filter(|other| other.facts.issuer == list.facts.issuer);
            let has_others = of_issuer.count() > 1;
            Ok(List { content: content.map_err(unsupported)?.into(), has_others })
        };
        let lists = lists.iter().map(read).collect::<Result<_, TlsError>>()?;
        Ok(Self { lists, is_strict, algorithms })
    }

    /// Whether no list revokes what was presented, and where strict, whether current ones speak for
    /// all of it.
    ///
    /// Each list is asked alone first, so that none hides another one. Then all are asked, those
    /// last that another key signed: such a list is come to only where no other one speaks, and
    /// there it refuses, as one that is forged must.
    pub(super) fn judge(&self, presented: Presented<'_>) -> Result<(), Error> {
        let (mut in_order, mut of_other_keys) = (Vec::new(), Vec::new());
        for List { content, has_others } in &self.lists {
            if !has_others {
                in_order.push(content);
                continue;
            }
            match self.ask(presented, &[content], false) {
                Ok(()) => in_order.push(content),
                Err(error) if is_of_another_key(&error) => of_other_keys.push(content),
                Err(error) => return Err(error),
            }
        }
        in_order.append(&mut of_other_keys);
        self.ask(presented, &in_order, self.is_strict)
    }

    fn ask(
        &self,
        presented: Presented<'_>,
        lists: &[&CertRevocationList<'_>],
        is_strict: bool,
    ) -> Result<(), Error> {
        let Presented { roots, end_entity, intermediates, now } = presented;
        let Ok(options) = RevocationOptionsBuilder::new(lists) else { return Ok(()) };
        let options = match is_strict {
            true => options.with_expiration_policy(ExpirationPolicy::Enforce),
            false => options.with_status_policy(UnknownStatusPolicy::Allow),
        };
        let (algorithms, usage) = (self.algorithms.all, KeyUsage::client_auth());
        let (roots, options) = (&roots.roots, Some(options.build()));
        EndEntityCert::try_from(end_entity)?
            .verify_for_usage(algorithms, roots, intermediates, now, usage, options, None)
            .map(|_path| ())
    }
}

/// Whether a list may be that of another key. Of several errors webpki tells the gravest, and of
/// these that a certificate was revoked is graver.
const fn is_of_another_key(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCrlSignatureForPublicKey
            | Error::UnsupportedCrlSignatureAlgorithmContext(_)
            | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            // Where two CAs have one name, that of the certificate is found first or last.
            | Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
    )
}
