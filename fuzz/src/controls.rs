//! Each target is shown a bug of the kind that it is to find: its own check, and a reader that is
//! wrong. A check that lets one pass would let the same bug of ours pass.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie::auth::jwt::VerificationKey;
use selkie_kms::KmsError;
use selkie_listener::fuzzing::{Beginning, beginning};
use selkie_storage::Revision;
use selkie_storage::fuzzing::{Journal, journal, journal_of};

use crate::*;

/// The check fails, and by the assertion that is `meant`: another panic proves nothing.
fn is_caught(meant: &str, check: impl FnOnce() -> bool) {
    let caught = catch_unwind(AssertUnwindSafe(check)).expect_err("the planted bug was not found");
    let said = caught.downcast_ref::<String>().map(String::as_str);
    let said = said.or(caught.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(said.contains(meant), "not {meant:?}, but: {said}");
}

fn seed(name: &str) -> Vec<u8> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    fs::read(corpus.join(name)).expect("a seed")
}

#[test]
fn an_audit_reader_that_overlooks_a_change_is_caught() {
    let whole = |_: &[u8]| audit_log::Verdict { is_whole: true, is_noted: false };
    is_caught("a changed log passed", || audit_log::is_found(b"{}\n", whole));
}

#[test]
fn a_backup_reader_that_opens_malformed_content_is_caught() {
    let genuine = || backup_file::opened(&seed("backup_file/two_records"));
    assert!(backup_file::agrees(&seed("backup_file/two_records"), genuine()), "control");
    is_caught("malformed content was opened", || backup_file::agrees(b"no content", genuine()));
}

#[test]
fn a_certificate_reader_that_drops_a_name_is_caught() {
    is_caught("other names", || {
        client_certificate::agrees(&seed("client_certificate/sans.der"), |der| {
            let chain = [rustls_pki_types::CertificateDer::from(der)];
            let mut read = selkie_certificate::ClientCertificate::read(&chain)?;
            read.iter_mut().for_each(|read| drop(read.dns_sans.pop()));
            Ok(read)
        })
    });
}

#[test]
fn a_stranger_whose_header_is_believed_is_caught() {
    is_caught("another client", || {
        forwarded_for::agrees(&seed("forwarded_for/stranger"), |_, headers| {
            let named = headers["x-forwarded-for"].to_str().expect("text");
            Ok(named.parse().expect("an address"))
        })
    });
}

#[test]
fn a_configuration_whose_layout_matters_is_caught() {
    let text = String::from_utf8(seed("hcl_config/small")).expect("text");
    is_caught("written anew", || {
        hcl_config::says_the_same(&text, |text| Ok(text.len().to_string()))
    });
}

#[test]
fn a_smuggled_request_is_caught() {
    let seen = |target: &str| http_head::Seen {
        method: "GET".to_owned(),
        target: target.to_owned(),
        body: Some(Vec::new()),
    };
    let put = http_head::Seen { method: "PUT".to_owned(), ..seen("/a") };
    for name in ["http_head/te_cl", "http_head/cl_te"] {
        is_caught("more than there are", || {
            http_head::agrees(&seed(name), |_| vec![put.clone(), seen("/smuggled")])
        });
    }
    is_caught("were to be seen", || http_head::agrees(&seed("http_head/get"), |_| Vec::new()));
}

#[test]
fn a_token_that_is_not_the_answers_is_caught() {
    let read = |_: &[u8]| Ok(("another".to_owned(), Duration::from_secs(3600)));
    is_caught("another token", || identity_reply::agrees(&seed("identity_reply/token"), read));
    is_caught("an error says more", || {
        identity_reply::agrees(b"<html>", |_| Err("no <html>".to_owned()))
    });
}

#[test]
fn a_token_that_is_believed_unsigned_is_caught() {
    // Well-formed, and not what was signed.
    let parts = |token: usize| jwt::TOKENS[token].split('.').collect::<Vec<_>>();
    let (one, mut claims) = (
        parts(0),
        String::from_utf8(URL_SAFE_NO_PAD.decode(parts(0)[1]).expect("genuine")).expect("JSON"),
    );
    claims = claims.replace("seal", "sale");
    let forged = format!("{}.{}.{}", one[0], URL_SAFE_NO_PAD.encode(claims), one[2]);
    assert!(jwt::verified(&forged).is_none(), "control");
    is_caught("a forged token was believed", || {
        jwt::believes_only_genuine(&forged, |_| jwt::verified(jwt::TOKENS[0]))
    });
    is_caught("a genuine token was refused", || {
        jwt::believes_only_genuine(jwt::TOKENS[0], |_| None)
    });
    // One that nobody could take apart must not be believed either.
    let hmac = String::from_utf8(seed("jwt/hmac")).expect("text");
    is_caught("is_parsed", || jwt::believes_only_genuine(&hmac, |_| jwt::verified(jwt::TOKENS[0])));
}

#[test]
fn a_key_set_of_which_a_key_is_lost_added_or_another_is_caught() {
    let read = |data: &[u8]| VerificationKey::from_set(data).ok();
    let set = seed("jwt/set");
    let text = str::from_utf8(&set).expect("text");
    let other = text.replace("\"n\":\"7", "\"n\":\"8").into_bytes();
    assert!(jwt::agrees_on_keys(&set, read) && jwt::agrees_on_keys(&other, read), "control");
    is_caught("other keys", || jwt::agrees_on_keys(&set, |set| Some(read(set)?[1..].to_vec())));
    is_caught("a key set was refused", || jwt::agrees_on_keys(&set, |_| None));
    is_caught("another key verified", || jwt::agrees_on_keys(&other, |_| read(&set)));
    is_caught("did not verify", || jwt::agrees_on_keys(&set, |_| read(&other)));
}

#[test]
fn an_answer_that_is_refused_although_it_is_genuine_is_caught() {
    let refused = || KmsError::Rejected(None);
    let vault = |name: &str| key_vault_reply::scripted(&seed(&format!("key_vault_reply/{name}")));
    is_caught("a DEK was refused", || vault("unwrapped").unwraps(&Err(refused())));
    is_caught("a wrapped DEK was refused", || {
        vault("wrapped").wraps(&Err(refused()));
        true
    });
    is_caught("a genuine key and its list", || vault("unwrapped").describes(&Err(refused())));
}

#[test]
fn an_error_that_repeats_a_short_value_is_caught() {
    is_caught("an error repeats", || {
        key_vault_reply::are_told_alike("YQ", Some("not YQ".into()), Some("not ZQ".into()));
        true
    });
}

#[test]
fn another_dek_than_the_answers_is_caught() {
    let vault = key_vault_reply::scripted(&seed("key_vault_reply/unwrapped"));
    is_caught("another DEK", || vault.unwraps(&Ok(vec![0; 32])));
}

#[test]
fn a_message_with_something_behind_it_is_caught() {
    use selkie_pkcs11_protocol::{Message, Request};
    let seed = seed("pkcs11_messages/inspect");
    let careless = |bytes: &[u8]| Request::parse(&bytes[..seed.len().min(bytes.len())]);
    is_caught("something followed a message", || {
        pkcs11_messages::is_heard(&seed, careless, |n, m| m.frame(n).expect("said").to_vec())
    });
}

#[test]
fn a_policy_that_allows_too_much_is_caught() {
    is_caught("allowed otherwise", || policy::agrees(&seed("policy/denied"), |_, _, _| true));
}

#[test]
fn a_key_of_which_a_part_is_another_is_caught() {
    let seed = seed("private_key/x25519");
    let canonical = seed.clone();
    is_caught("a part of a key was one", || {
        private_key::agrees(&seed, |_| Some(canonical.clone()))
    });
}

#[test]
fn a_proxy_header_that_is_taken_for_another_is_caught() {
    let lax = |bytes: &[u8]| match beginning(bytes) {
        Beginning::Refused => Beginning::Header(bytes.len(), None),
        other => other,
    };
    is_caught("read otherwise", || proxy_header::agrees(&seed("proxy_header/bare_lf"), lax));
}

#[test]
fn a_changed_record_that_opens_is_caught() {
    let open = |_: &[u8]| Some(sealed_record::CONTENT.to_vec());
    is_caught("a changed record was opened", || {
        sealed_record::is_refused_unless_genuine(b"changed", b"genuine", open)
    });
}

#[test]
fn shares_that_combine_to_something_else_are_caught() {
    is_caught("another secret", || {
        shamir_shares::agrees(&seed("shamir_shares/two_of_three"), |shares| shares[0].1)
    });
}

#[test]
fn a_torn_journal_that_passes_for_whole_is_caught() {
    let commits = store_files::commits(&[0, 9, 18, 27]);
    let whole = journal_of(Revision::ORIGIN, &[], &commits);
    let lax = |bytes: &[u8]| match journal(bytes) {
        Journal::Read { newest, records, .. } => Journal::Read { is_whole: true, newest, records },
        unreadable => unreadable,
    };
    is_caught("cut to", || {
        store_files::holds(&whole, &commits, whole.len() - 1, 1, lax);
        true
    });
}

#[test]
fn a_token_that_is_trimmed_is_caught() {
    is_caught("of a header of its own", || {
        token_text::agrees(b" a", |value| Some(value.trim_ascii().to_vec()))
    });
}
