//! Claims about an HSM that is replaced by one with another serial number.

use std::sync::Mutex;

use selkie_crypto::{Kek, RecipientSecret, WrapAlgorithm};
use selkie_kms::{Call, KekDescription, KekVersion, Kms, KmsFuture, StaticKms};

use super::*;
use crate::telemetry::captured::Log;

/// An HSM that goes by a key's label and id, and shows no public half.
#[derive(Debug)]
struct Hsm(Mutex<(&'static str, Arc<StaticKms>)>);

fn on(serial: &str) -> KekId {
    KekId::new(&format!("pkcs11:serial={serial};object=unseal;id=%01")).unwrap()
}

/// A key that was never the current one here, so that nothing was wrapped under it.
fn previous_on(serial: &str) -> KekId {
    KekId::new(&format!("pkcs11:serial={serial};object=unseal;id=%00")).unwrap()
}

fn holding(fill: u8) -> Arc<StaticKms> {
    let key = Kek::init_with(|page| page.fill(fill)).unwrap();
    Arc::new(StaticKms::new(vec![(on("any"), key)], &on("any")).unwrap())
}

impl Hsm {
    fn inner(&self) -> Arc<StaticKms> {
        Arc::clone(&self.0.lock().unwrap().1)
    }
}

impl Kms for Hsm {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async {
            let (serial, inner) = self.0.lock().unwrap().clone();
            let mut version = inner.describe().await?.current().clone();
            version.id = on(serial);
            let previous = KekVersion { id: previous_on(serial), ..version.clone() };
            Ok(KekDescription::new(vec![previous, version], &on(serial)).unwrap())
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        _: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move { self.inner().wrap_dek(&on("any"), dek, call).await })
    }

    fn unwrap_dek<'a>(
        &'a self,
        _: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async move { self.inner().unwrap_dek(&on("any"), algorithm, wrapped, call).await })
    }
}

async fn started(hsm: &Arc<Hsm>) -> (Site, Arc<Faulty>, Node) {
    let site = Site::with_local_key();
    let faults = Arc::new(Faulty::new(Arc::clone(hsm) as _));
    let site = Site { faults: Arc::clone(&faults), ..site };
    let node = site.running().await;
    (site, faults, node)
}

fn contradiction(node: &Node) -> Option<Contradiction> {
    let known = node.deployment().seals.iter().next().unwrap().known.clone();
    known.and_then(|known| known.contradiction.clone())
}

#[tokio::test(start_paused = true)]
async fn a_replaced_device_with_the_same_key_is_told_of_and_serves_on() {
    let hsm = Arc::new(Hsm(Mutex::new(("a1", holding(1)))));
    let (site, faults, node) = started(&hsm).await;
    let made = encrypt(&node).await.unwrap();
    let log = Log::start();
    *hsm.0.lock().unwrap() = ("b2", holding(1));
    sleep(2 * POLL).await;
    assert_eq!(contradiction(&node), None);
    assert!(log.take().contains("the device has another serial number, and holds the same key"));
    assert_eq!((encrypt(&node).await.unwrap().version, kek(&node)), (made.version, on("a1")));
    let calls = faults.on_unwrap().calls();
    sleep(10 * POLL).await;
    assert_eq!(faults.on_unwrap().calls(), calls, "it is shown once");
    let node = site.running().await;
    assert_eq!((encrypt(&node).await.unwrap().version, kek(&node)), (made.version, on("a1")));
    assert_eq!(decrypt(&node, &made.ciphertext).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_device_with_another_key_is_told_as_that() {
    let hsm = Arc::new(Hsm(Mutex::new(("a1", holding(1)))));
    let (_site, _, node) = started(&hsm).await;
    *hsm.0.lock().unwrap() = ("b2", holding(2));
    sleep(2 * POLL).await;
    assert_eq!(contradiction(&node), Some(Contradiction::OpensNothing(on("a1"))));
    assert!(encrypt(&node).await.is_err());
    *hsm.0.lock().unwrap() = ("a1", holding(1));
    sleep(2 * POLL).await;
    assert!(encrypt(&node).await.is_ok(), "the right one is back");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_device_of_which_nothing_is_shown_is_told_by_its_serial_number() {
    let hsm = Arc::new(Hsm(Mutex::new(("a1", holding(1)))));
    let (site, _, node) = started(&hsm).await;
    drop(node);
    fs::remove_file(site.dir.path().join("pins/weu.canaries")).unwrap();
    *hsm.0.lock().unwrap() = ("b2", holding(1));
    let node = site.running().await;
    assert_eq!(contradiction(&node), Some(Contradiction::OtherDevice(on("a1"))));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_device_that_does_not_answer_yet_speaks_against_no_key() {
    let hsm = Arc::new(Hsm(Mutex::new(("a1", holding(1)))));
    let (_site, faults, node) = started(&hsm).await;
    *hsm.0.lock().unwrap() = ("b2", holding(1));
    faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    sleep(2 * POLL).await;
    assert_eq!((contradiction(&node), kek(&node)), (None, on("a1")));
    faults.on_unwrap().clear();
    sleep(POLL).await;
    assert!(encrypt(&node).await.is_ok());
}
