//! A master key that is elsewhere than in the place that an envelope names.

use selkie_crypto::base64;

use super::*;

/// The ciphertext as one that was made where the key was before.
fn of_former_place(ciphertext: &str) -> String {
    let (version, text) = ciphertext.rsplit_once(':').unwrap();
    let envelope = base64::decode_secret(text.as_bytes()).unwrap();
    let envelope = String::from_utf8(envelope.expose_for_own_use().to_vec()).unwrap();
    let moved = envelope.replace("https://kms/keys/k/", "https://old/keys/k/");
    assert_ne!(moved, envelope);
    let mut text = format!("{version}:").into_bytes();
    base64::encode_into(moved.as_bytes(), &mut text);
    String::from_utf8(text).unwrap()
}

fn moved_site() -> Site {
    Site { former_targets: vec!["https://old/keys/k".into()], ..Site::new() }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_is_missed_under_its_former_id_too() {
    let (moved, settled) = (moved_site(), Site::new());
    for (site, is_missed) in [(&moved, true), (&settled, false)] {
        let node = site.running().await;
        let former = of_former_place(&encrypt(&node).await.unwrap().ciphertext);
        site.faults.on_unwrap().always(Fault::fail(KmsError::UnknownKek(None)));
        let refused = decrypt(&node, &former).await;
        match is_missed {
            true => {
                let gone = fault(refused);
                assert!(matches!(gone, SealFault::Kms(KmsError::UnknownKek(_))), "{gone}");
            }
            false => {
                assert!(matches!(refused, Err(TransitError::NoUsableRecipient)), "{refused:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_denies_what_names_the_former_place_is_in_doubt() {
    let (moved, settled) = (moved_site(), Site::new());
    for (site, is_in_doubt) in [(&moved, true), (&settled, false)] {
        let node = site.running().await;
        let former = of_former_place(&encrypt(&node).await.unwrap().ciphertext);
        site.faults.on_unwrap().always(Fault::fail(KmsError::Denied(None)));
        let denied = fault(decrypt(&node, &former).await);
        assert!(matches!(denied, SealFault::Kms(KmsError::Denied(_))), "{denied}");
        let seals = node.deployment().seals.clone();
        assert_eq!(seals.iter().next().unwrap().connection.is_in_doubt(), is_in_doubt);
    }
}
