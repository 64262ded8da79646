//! Several revocation lists of one issuer, which webpki tells apart by the issuer's name alone.

use std::path::PathBuf;

use rcgen::{
    CertifiedIssuer, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, KeyPair,
    PKCS_ED25519, SerialNumber, SigningKey, date_time_ymd as date,
};
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use selkie_listener::{ClientTrust, Lapsed, TrustFiles};

use crate::client_certificates::{Authority, Issued, passes};
use crate::harness::NOW;
use crate::tls::Scratch;

fn place(name: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![format!("http://a.test/{name}.crl")] }
}

/// What revokes `serial`, of May `day`; `place` is which certificates it is for.
fn list(
    authority: &Authority,
    serial: u64,
    day: u8,
    place: Option<CrlIssuingDistributionPoint>,
) -> String {
    let list = authority.list_with(&[serial], |list| {
        list.this_update = date(2026, 5, day);
        list.issuing_distribution_point = place;
    });
    list.pem().unwrap()
}

fn at(name: &str) -> Option<CrlIssuingDistributionPoint> {
    Some(CrlIssuingDistributionPoint { distribution_point: place(name), scope: None })
}

/// One whose list is to be found at these places.
fn issue(authority: &Authority, serial: u64, places: &[&str]) -> Issued {
    authority.issue_with(serial, |params| {
        params.not_before = date(2026, 1, 1);
        params.not_after = date(2027, 1, 1);
        params.crl_distribution_points = places.iter().map(|name| place(name)).collect();
    })
}

fn trust(scratch: &Scratch, authorities: &[&Authority], lists: &[String]) -> [TrustFiles; 2] {
    let pem: String = authorities.iter().map(|one| one.0.pem()).collect();
    let authorities: PathBuf = scratch.write("ca.pem", pem);
    let lists = scratch.write("lists.pem", lists.concat());
    [false, true].map(|is_strict| TrustFiles {
        authorities: authorities.clone(),
        revocation_lists: vec![lists.clone()],
        is_strict,
    })
}

/// The same for all certificates, but without the id of a key, as `openssl ca` makes lists unless it is
/// told otherwise: by another number the extension is an unknown one. The key is of Ed25519, whose
/// signatures are all of one length.
fn list_without_key(authority: &Authority, serials: &[u64], day: u8) -> Vec<u8> {
    const AUTHORITY_KEY_ID: [u8; 5] = [6, 3, 0x55, 0x1d, 35];
    /// The algorithm, and what is before the bits of the signature.
    const BETWEEN: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 65, 0];
    let list = authority.list_with(serials, |list| list.this_update = date(2026, 5, day));
    let mut der = list.der().to_vec();
    let id = der.windows(5).position(|bytes| bytes == AUTHORITY_KEY_ID).unwrap();
    der[id + 4] = 99;
    let signature = der.len() - 64;
    let end = signature - BETWEEN.len();
    assert_eq!(der[end..signature], BETWEEN);
    // Tag, a length of two or three bytes, then what is signed.
    let start = if der[1] == 0x81 { 3 } else { 4 };
    let signed = authority.0.key().sign(&der[start..end]).unwrap();
    der[signature..].copy_from_slice(&signed);
    der
}

/// As AD CS keeps them: `A.crl` and, from a renewal with a new key on, `A(1).crl`.
#[test]
fn the_lists_of_two_keys_at_two_places_each_revoke_whichever_is_newer() {
    let (old, new) = (Authority::new("a"), Authority::new("a"));
    let scratch = Scratch::new("crl-places");
    for (old_day, new_day) in [(20, 21), (21, 20), (20, 20)] {
        let lists = [list(&old, 5, old_day, at("a")), list(&new, 6, new_day, at("a(1)"))];
        for files in trust(&scratch, &[&old, &new], &lists) {
            for (authority, name, serial, is_good) in [
                (&old, "a", 5, false),
                (&old, "a", 6, true),
                (&new, "a(1)", 5, true),
                (&new, "a(1)", 6, false),
            ] {
                let issued = issue(authority, serial, &[name]);
                let case = (old_day, new_day, name, serial, files.is_strict);
                assert_eq!(passes(&files, &issued, NOW), is_good, "{case:?}");
            }
        }
    }
}

#[test]
fn a_list_of_another_key_that_is_for_authorities_alone_hides_none_for_all() {
    let (old, new) = (Authority::new("a"), Authority::new("a"));
    let scratch = Scratch::new("crl-scopes");
    let for_authorities = CrlIssuingDistributionPoint {
        distribution_point: place("a"),
        scope: Some(CrlScope::CaCertsOnly),
    };
    for days in [[20, 21], [21, 20]] {
        let lists =
            [list(&old, 5, days[0], None), list(&new, 6, days[1], Some(for_authorities.clone()))];
        for files in trust(&scratch, &[&old, &new], &lists) {
            assert!(!passes(&files, &issue(&old, 5, &[]), NOW), "{days:?} {files:?}");
            assert!(passes(&files, &issue(&old, 6, &[]), NOW), "{days:?} {files:?}");
        }
    }
}

/// webpki takes any of an issuer's lists for a certificate that names no place.
#[test]
fn a_certificate_that_names_no_place_is_revoked_by_the_list_of_any() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-no-place"));
    for days in [[20, 21], [21, 20]] {
        let lists = [list(&authority, 5, days[0], at("x")), list(&authority, 6, days[1], at("y"))];
        for files in trust(&scratch, &[&authority], &lists) {
            for (serial, is_good) in [(5, false), (6, false), (7, true)] {
                let issued = issue(&authority, serial, &[]);
                assert_eq!(passes(&files, &issued, NOW), is_good, "{days:?} {serial} {files:?}");
            }
        }
    }
}

/// Where the only list that is for a certificate is of a wrong key, one for others says nothing.
#[test]
fn a_forged_list_refuses_though_one_for_other_certificates_lies_beside_it() {
    let (old, new) = (Authority::new("a"), Authority::new("a"));
    let scratch = Scratch::new("crl-forged-beside");
    for days in [[20, 21], [21, 20]] {
        let lists =
            [list(&Authority::new("a"), 9, days[0], at("a")), list(&new, 9, days[1], at("a(1)"))];
        for files in trust(&scratch, &[&old, &new], &lists) {
            assert!(!passes(&files, &issue(&old, 5, &["a"]), NOW), "{days:?} {files:?}");
            assert!(passes(&files, &issue(&new, 5, &["a(1)"]), NOW), "{days:?} {files:?}");
        }
    }
}

#[test]
fn all_lists_count_however_many_keys_two_issuers_have_had() {
    let scratch = Scratch::new("crl-many-keys");
    let authorities: Vec<_> =
        ["a", "b"].iter().flat_map(|name| (0..5).map(|_| Authority::new(name))).collect();
    let lists: Vec<_> =
        authorities.iter().zip(1..).map(|(one, day)| list(one, 5, day, None)).collect();
    let authorities: Vec<_> = authorities.iter().collect();
    for files in trust(&scratch, &authorities, &lists) {
        for (authority, at) in authorities.iter().zip(0..) {
            assert!(passes(&files, &authority.issue(1), NOW), "{at} {files:?}");
            assert!(!passes(&files, &authority.issue(5), NOW), "{at} {files:?}");
        }
    }
}

/// Which key such a list is of only its signature tells, and so none replaces another one.
#[test]
fn lists_that_name_no_key_all_count() {
    let key = || KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let (old, new) = (Authority::of_key("a", key()), Authority::of_key("a", key()));
    let scratch = Scratch::new("crl-no-key");
    let authorities = scratch.write("ca.pem", old.0.pem() + &new.0.pem());
    for days in [[20, 21], [21, 20], [20, 20]] {
        let lists = vec![
            scratch.write("old.crl", list_without_key(&old, &[5], days[0])),
            scratch.write("new.crl", list_without_key(&new, &[6], days[1])),
            scratch.write("older.crl", list_without_key(&new, &[7], 1)),
        ];
        for is_strict in [false, true] {
            let (authorities, lists) = (authorities.clone(), lists.clone());
            let files = TrustFiles { authorities, revocation_lists: lists, is_strict };
            let good = |authority: &Authority| {
                [5, 6, 7].map(|serial| passes(&files, &authority.issue(serial), NOW))
            };
            assert_eq!(good(&old), [false, true, true], "{days:?} {files:?}");
            assert_eq!(good(&new), [true, false, false], "{days:?} {files:?}");
        }
    }
}

/// What a client is told that shows these, its own first.
fn told(files: &TrustFiles, chain: &[CertificateDer<'_>]) -> Result<(), Lapsed> {
    ClientTrust::load(files).unwrap().verify(chain, NOW)
}

fn revoked() -> Result<(), Lapsed> {
    Err(Lapsed::Refused(CertificateError::Revoked.into()))
}

/// A root, an authority under it, and certificates of that one, with its name and its key: the first
/// two are revoked, each by another list of the root.
fn renewed(scratch: &Scratch) -> ([TrustFiles; 2], Authority, [CertificateDer<'static>; 3]) {
    let root = Authority::new("root");
    let params = |serial: u64| {
        let mut params = Authority::params("i");
        params.serial_number = Some(SerialNumber::from(serial));
        params
    };
    let key = KeyPair::generate().unwrap();
    let authority = Authority(CertifiedIssuer::signed_by(params(4), key, &root.0).unwrap());
    let again = |serial| params(serial).signed_by(authority.0.key(), &root.0).unwrap();
    let certificates = [5, 6, 7].map(|serial| again(serial).der().clone());
    let lists =
        [list(&root, 5, 20, at("x")), list(&root, 6, 21, at("y")), list(&authority, 9, 20, None)];
    (trust(scratch, &[&root], &lists), authority, certificates)
}

/// With two certificates of its issuer each list finds one that it does not revoke.
#[test]
fn no_second_certificate_of_an_issuer_makes_up_for_one_that_is_revoked() {
    let scratch = Scratch::new("crl-twins");
    let (files, authority, [one, other, good]) = renewed(&scratch);
    let leaf = authority.issue(1).der();
    for files in files {
        for (shown, expected) in [
            (vec![&one], revoked()),
            (vec![&other], revoked()),
            (vec![&one, &other], revoked()),
            (vec![&other, &one], revoked()),
            (vec![&one, &other, &good], Ok(())),
            (vec![&good], Ok(())),
        ] {
            let chain: Vec<_> = [&leaf].into_iter().chain(shown).cloned().collect();
            assert_eq!(told(&files, &chain), expected, "{} {files:?}", chain.len());
        }
        let revoked_leaf = authority.issue(9).der();
        assert_eq!(told(&files, &[revoked_leaf, good.clone()]), revoked(), "{files:?}");
    }
}

/// Each goes through the lists again.
#[test]
fn after_four_ways_to_an_authority_that_are_revoked_no_other_one_is_tried() {
    let scratch = Scratch::new("crl-ways");
    let (files, authority, [one, _, good]) = renewed(&scratch);
    for (count, expected) in [(3, Ok(())), (4, revoked())] {
        let mut chain = vec![one.clone(); count];
        chain.insert(0, authority.issue(1).der());
        chain.push(good.clone());
        for files in &files {
            assert_eq!(told(files, &chain), expected, "{count} {files:?}");
        }
    }
}

/// webpki tells that it has expired, rather than that a list is of another key or revokes.
#[test]
fn an_expired_certificate_that_is_shown_besides_changes_nothing() {
    let (old, new) = (Authority::new("a"), Authority::new("a"));
    let scratch = Scratch::new("crl-stray");
    let params = || {
        let mut params = Authority::params("a");
        params.not_after = date(2026, 1, 1);
        params
    };
    let strays = [
        params().self_signed(new.0.key()).unwrap(),
        params().signed_by(new.0.key(), &old.0).unwrap(),
    ];
    for days in [[20, 21], [21, 20]] {
        let lists = [list(&old, 5, days[0], None), list(&new, 6, days[1], None)];
        for files in trust(&scratch, &[&old, &new], &lists) {
            for stray in &strays {
                for (serial, expected) in [(5, Ok(())), (6, revoked())] {
                    let chain = [new.issue(serial).der(), stray.der().clone()];
                    assert_eq!(told(&files, &chain), expected, "{days:?} {serial} {files:?}");
                }
            }
        }
    }
}

/// webpki tells that the new key has not signed the client's certificate, rather than a list.
#[test]
fn a_key_that_only_the_next_key_of_that_name_vouches_for_has_a_list_at_its_place() {
    let (old, new) = (Authority::new("a"), Authority::new("a"));
    let scratch = Scratch::new("crl-cross");
    let cross = |serial: u64| {
        let mut params = Authority::params("a");
        params.serial_number = Some(SerialNumber::from(serial));
        params.signed_by(old.0.key(), &new.0).unwrap().der().clone()
    };
    for days in [[20, 21], [21, 20]] {
        let lists = [list(&old, 5, days[0], at("a")), list(&new, 6, days[1], at("a(1)"))];
        for files in trust(&scratch, &[&new], &lists) {
            for (serial, of_key, expected) in
                [(1, 1, Ok(())), (5, 1, revoked()), (6, 5, Ok(())), (1, 6, revoked())]
            {
                let chain = [issue(&old, serial, &["a"]).der(), cross(of_key)];
                assert_eq!(told(&files, &chain), expected, "{days:?} {serial} {of_key} {files:?}");
            }
        }
    }
}
