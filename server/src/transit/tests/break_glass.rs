//! Claims about the seal whose private key is with people.

use selkie_config::{BreakGlassSeal, SealKind};
use selkie_crypto::{EcCurve, EcPrivateKey, Envelope, PublicKey};

use super::*;
use crate::seal::{Keeping, connect};

const NAME: &str = "break-glass";

fn key() -> EcPrivateKey {
    EcPrivateKey::generate(EcCurve::P256, &os_random).unwrap()
}

async fn seal(key: &EcPrivateKey, is_unlocked: bool) -> Seal {
    let public_key = PublicKey::from_spki_der(key.public_key().spki_der()).unwrap();
    let kek = BreakGlassSeal::kek_of(&public_key).unwrap();
    let copy = || EcPrivateKey::from_pkcs8(key.to_pkcs8().expose_for_writing()).unwrap();
    let private_key = is_unlocked.then(|| Box::new(copy()));
    let kind = SealKind::BreakGlass(BreakGlassSeal { public_key, kek, private_key });
    let name = SealName::new(NAME).unwrap();
    Seal::new(false, connect(&name, kind, &Keeping::default(), None).await.unwrap())
}

async fn deployment_with(seals: &[TestSeal], break_glass: Seal) -> Arc<Deployment> {
    let mut connected = Vec::new();
    for seal in seals {
        connected.push(seal.connected().await);
    }
    connected.push(break_glass);
    let names: Vec<_> = seals.iter().map(|seal| seal.name).chain([NAME]).collect();
    let rule = VersionRule::Counted { generation: 0 };
    let config = config_of(&[("unseal", rule)], &names);
    Arc::new(Deployment::assemble(config, Seals::new(connected)).unwrap())
}

async fn engine_with(seals: &[TestSeal], break_glass: Seal) -> Transit {
    let engine = engine(seals).await;
    Transit { deployment: deployment_with(seals, break_glass).await, ..engine }
}

#[tokio::test]
async fn an_envelope_is_made_for_break_glass_too_and_no_server_asks_it() {
    let key = key();
    let a = TestSeal::new("a", &[1]);
    let both = engine_with(std::slice::from_ref(&a), seal(&key, false).await).await;
    let made = encrypt(&both, "unseal", "x").await.unwrap();
    assert_eq!(made.version.get(), 2, "it counts as a master key");
    let text = selkie_crypto::Ciphertext::parse(&made.ciphertext).unwrap();
    let envelope = Envelope::inspect(&text.into_envelope_bytes().unwrap()).unwrap();
    let names: Vec<_> = envelope.recipients().iter().map(|one| one.seal.as_str()).collect();
    assert_eq!(names, ["a", NAME]);
    assert_eq!(decrypt(&both, "unseal", &made.ciphertext).await.unwrap(), b"x");
    a.kms.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    let error = decrypt(&both, "unseal", &made.ciphertext).await.unwrap_err();
    let TransitError::Seal(error) = error else { panic!("{error}") };
    assert_eq!(error.seal.as_str(), "a", "the one that may come back");
    let other = engine_with(&[TestSeal::new("b", &[1])], seal(&key, false).await).await;
    let error = decrypt(&other, "unseal", &made.ciphertext).await.unwrap_err();
    assert!(matches!(error, TransitError::NoUsableRecipient), "{error}");
}

#[tokio::test]
async fn the_private_key_opens_what_was_made_for_its_public_half() {
    let key = key();
    let servers = engine_with(&[TestSeal::new("a", &[1])], seal(&key, false).await).await;
    let made = encrypt(&servers, "unseal", "x").await.unwrap();
    let laptop = engine_with(&[TestSeal::new("a", &[9])], seal(&key, true).await).await;
    assert_eq!(decrypt(&laptop, "unseal", &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_reload_compares_no_offline_key() {
    let key = key();
    let was = deployment_with(&[TestSeal::new("a", &[1])], seal(&key, false).await).await;
    let is = deployment_with(&[TestSeal::new("a", &[1])], seal(&key, false).await).await;
    assert_eq!(
        is.require_continuity(&was, &ManagedKeys::without_store(), &os_random).await,
        Ok(())
    );
}

#[tokio::test]
async fn nothing_is_served_by_break_glass_alone() {
    let alone = deployment_with(&[], seal(&key(), false).await).await;
    assert!(alone.seals.asked().next().is_none());
    assert!(crate::state::state_key::trusted_keks(&alone, 0).is_empty());
    let both = deployment_with(&[TestSeal::new("a", &[1])], seal(&key(), false).await).await;
    assert_eq!(crate::state::state_key::trusted_keks(&both, 0).len(), 2);
}

const MISSING: NewKey = NewKey { derived: false, allow_missing_seals: true };

/// An engine that changes managed keys for the same seals, too.
async fn engine_for(deployment: Arc<Deployment>) -> Transit {
    let engine = engine(&[]).await;
    engine.current.store(Arc::clone(&deployment));
    Transit { deployment, ..engine }
}

fn seals_of(key: &TransitKey) -> Vec<&str> {
    key.keks(key.latest).iter().map(|kek| kek.seal.as_str()).collect()
}

fn managed(engine: &Transit) -> Arc<TransitKey> {
    engine.keys.managed(&"transit".parse().unwrap(), "m").unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_key_goes_on_for_break_glass_alone() {
    let a = TestSeal::new("a", &[1]);
    let seals = deployment_with(std::slice::from_ref(&a), seal(&key(), false).await).await;
    let engine = engine_for(seals).await;
    engine.create_key(permit(operation::CreateKey, "m"), MISSING).await.unwrap();
    a.kms.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert!(encrypt(&engine, "m", "x").await.is_err());
    assert_eq!((managed(&engine).latest.get(), seals_of(&managed(&engine))), (1, vec!["a", NAME]));
    a.kms.on_wrap().clear();
    let made = encrypt(&engine, "m", "x").await.unwrap();
    assert_eq!(decrypt(&engine, "m", &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn no_key_begins_with_break_glass_alone() {
    let site = crate::seal::tests::Site::new();
    site.away();
    let seals = Seals::new(vec![site.seal("weu"), seal(&key(), false).await]);
    let engine =
        engine_for(Arc::new(Deployment::assemble(config_of(&[], &[]), seals).unwrap())).await;
    let refused = engine.create_key(permit(operation::CreateKey, "m"), MISSING).await;
    assert!(matches!(refused, Err(TransitError::Seal(_))), "{refused:?}");
}

#[tokio::test]
async fn what_break_glass_alone_opens_is_told_as_lost() {
    let key = key();
    let a = TestSeal::new("a", &[1]);
    let both = deployment_with(std::slice::from_ref(&a), seal(&key, false).await).await;
    let engine = engine_for(Arc::clone(&both)).await;
    engine.create_key(permit(operation::CreateKey, "m"), NewKey::default()).await.unwrap();
    assert!(engine.keys.lost_versions(&both.seals).is_empty());
    let next = deployment_with(&[TestSeal::new("b", &[2])], seal(&key, false).await).await;
    let lost = engine.keys.lost_versions(&next.seals);
    assert_eq!(lost.len(), 1);
    assert_eq!((&*lost[0].key, &*lost[0].versions), ("transit/m", "1"));
    assert_eq!(lost[0].seals, ["a", NAME]);
    let declared = next.lost_since(&both);
    assert_eq!(declared.len(), 1);
    assert_eq!(declared[0].key, "transit/unseal");
    assert!(both.lost_since(&both).is_empty());
}
