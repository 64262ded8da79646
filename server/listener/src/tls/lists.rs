//! Which revocation lists count. webpki goes by an issuer's name, and takes the first list that it
//! finds for a certificate: an older one before the one that revokes, or one of a key that the issuer
//! had before.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::slice;

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use super::TlsError;
use super::pem::RevocationList;

/// Paths to an authority that are judged by the lists before a client is refused: more than the few that
/// renewed and cross-signed authorities make. Each may have all lists hashed.
const MOST_PATHS: usize = 4;

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

    /// Whether there is a path from what was presented to an authority of which no list revokes
    /// anything, and where strict, for all of which current ones speak.
    ///
    /// Each path is judged for itself: asked about several, webpki finds for each list one that it
    /// lets pass, and tells what is wrong with a certificate of another one.
    pub(super) fn judge(&self, presented: Presented<'_>) -> Result<(), Error> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let Presented { roots, end_entity, intermediates, now } = presented;
        let refusals = RefCell::new(Vec::new());
        let judge_path = |path: &VerifiedPath<'_>| {
            let mut refusals = refusals.borrow_mut();
            if refusals.len() == MOST_PATHS {
                return Err(Error::UnknownIssuer);
            }
            self.judge_path(path, now).inspect_err(|error| refusals.push(error.clone()))
        };
        let (algorithms, usage) = (self.algorithms.all, KeyUsage::client_auth());
        let (roots, judge_path) = (&roots.roots, Some(&judge_path as _));
        let found = EndEntityCert::try_from(end_entity)?
            .verify_for_usage(algorithms, roots, intermediates, now, usage, None, judge_path)
            .map(|_path| ());
        found.map_err(|error| refusals.into_inner().into_iter().next().unwrap_or(error))
    }

    /// Each list is asked alone first, so that none hides another one. Then all are asked, those
    /// last that another key signed: such a list is come to only where no other one speaks, and
    /// there it refuses, as one that is forged must.
    fn judge_path(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Error> {
        let (mut in_order, mut of_other_keys) = (Vec::new(), Vec::new());
        for List { content, has_others } in &self.lists {
            if !has_others {
                in_order.push(content);
                continue;
            }
            match self.ask(path, now, &[content], false) {
                Ok(()) => in_order.push(content),
                Err(error) if is_of_another_key(&error) => of_other_keys.push(content),
                Err(error) => return Err(error),
            }
        }
        in_order.append(&mut of_other_keys);
        self.ask(path, now, &in_order, self.is_strict)
    }

    /// With what makes up one path webpki can go only this one, but for a copy of the authority's own
    /// certificate, which it may leave out: all other questions are the same without that.
    fn ask(
        &self,
        path: &VerifiedPath<'_>,
        now: UnixTime,
        lists: &[&CertRevocationList<'_>],
        is_strict: bool,
    ) -> Result<(), Error> {
        let Ok(options) = RevocationOptionsBuilder::new(lists) else { return Ok(()) };
        let options = match is_strict {
            true => options.with_expiration_policy(ExpirationPolicy::Enforce),
            false => options.with_status_policy(UnknownStatusPolicy::Allow),
        };
        let (algorithms, usage) = (self.algorithms.all, KeyUsage::client_auth());
        let (roots, options) = (slice::from_ref(path.anchor()), Some(options.build()));
        let intermediates: Vec<_> = path.intermediate_certificates().map(|one| one.der()).collect();
        path.end_entity()
            .verify_for_usage(algorithms, roots, &intermediates, now, usage, options, None)
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
