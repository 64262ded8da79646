use selkie_crypto::Kek;
use tokio::time::{Instant, timeout};

use super::*;
use crate::ClientTag;
use crate::static_kms::StaticKms;

const SECOND: Duration = Duration::from_secs(1);

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + SECOND }
}

fn id(text: &str) -> KekId {
    KekId::new(text).unwrap()
}

fn provider() -> Faulty {
    let kek = |id: &str, byte: u8| {
        (KekId::new(id).unwrap(), Kek::init_with(|bytes| bytes.fill(byte)).unwrap())
    };
    let inner = StaticKms::new(vec![kek("a", 1), kek("b", 2)], &id("a")).unwrap();
    Faulty::new(Arc::new(inner))
}

fn dek() -> RecipientSecret {
    RecipientSecret::init_with(|bytes| bytes.fill(7))
}

async fn unwrap(kms: &Faulty, wrapped: &[u8]) -> Result<Arc<RecipientSecret>, KmsError> {
    kms.unwrap_dek(&id("a"), WrapAlgorithm::A256Kw, wrapped, call()).await
}

async fn wrap(kms: &Faulty) -> Vec<u8> {
    kms.wrap_dek(&id("a"), &dek(), call()).await.unwrap()
}

async fn without_faults() -> Arc<dyn Kms> {
    Arc::new(provider())
}

crate::kms_contract!(without_faults);

#[tokio::test]
async fn fault_befalls_as_many_calls_as_it_says() {
    let kms = provider();
    kms.on_describe().next(2, Fault::fail(KmsError::Denied(None)));
    kms.on_describe().next(1, Fault::fail(KmsError::Unavailable(None)));
    assert!(matches!(kms.describe().await, Err(KmsError::Denied(_))));
    assert!(matches!(kms.describe().await, Err(KmsError::Denied(_))));
    assert!(matches!(kms.describe().await, Err(KmsError::Unavailable(_))));
    assert!(kms.describe().await.is_ok());
}

#[tokio::test]
async fn lasting_fault_lasts_until_cleared_and_yields_to_the_next_ones() {
    let kms = provider();
    kms.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    kms.on_describe().next(1, Fault::fail(KmsError::Denied(None)));
    assert!(matches!(kms.describe().await, Err(KmsError::Denied(_))));
    for _ in 0..3 {
        assert!(matches!(kms.describe().await, Err(KmsError::Unavailable(_))));
    }
    kms.on_describe().next(1, Fault::fail(KmsError::Denied(None)));
    kms.on_describe().clear();
    assert!(kms.describe().await.is_ok());
}

#[tokio::test]
async fn fault_of_one_operation_leaves_the_others_alone() {
    let kms = provider();
    kms.on_describe().always(Fault::fail(KmsError::Unavailable(None)));
    let wrapped = wrap(&kms).await;
    assert!(unwrap(&kms, &wrapped).await.is_ok());
    kms.on_wrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert!(kms.wrap_dek(&id("a"), &dek(), call()).await.is_err());
    assert!(unwrap(&kms, &wrapped).await.is_ok());
    kms.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert!(unwrap(&kms, &wrapped).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn delay_holds_back_success_and_failure_alike() {
    let kms = provider();
    kms.on_describe().next(1, Fault::delay(SECOND));
    kms.on_describe().next(1, Fault::fail(KmsError::Unavailable(None)).after(2 * SECOND));
    let start = Instant::now();
    assert!(kms.describe().await.is_ok());
    assert_eq!(start.elapsed(), SECOND);
    assert!(kms.describe().await.is_err());
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert!(kms.describe().await.is_ok());
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn hanging_call_never_answers_and_holds_up_no_other() {
    let kms = provider();
    kms.on_describe().next(1, Fault::hang());
    let hanging = timeout(86_400 * SECOND, kms.describe());
    let (hung, other) = tokio::join!(hanging, kms.describe());
    assert!(hung.is_err());
    assert!(other.is_ok());
}

#[tokio::test]
async fn other_secret_is_answered_as_if_it_were_right() {
    let kms = provider();
    let wrapped = wrap(&kms).await;
    kms.on_unwrap().next(1, Fault::other_secret());
    let other = unwrap(&kms, &wrapped).await.unwrap();
    assert_eq!(other.expose_for_wrap(), &[!7; 32]);
    assert_eq!(unwrap(&kms, &wrapped).await.unwrap().expose_for_wrap(), &[7; 32]);
}

#[tokio::test]
async fn damaged_dek_does_not_unwrap() {
    let kms = provider();
    kms.on_wrap().next(1, Fault::damaged());
    let damaged = wrap(&kms).await;
    assert!(matches!(unwrap(&kms, &damaged).await, Err(KmsError::Rejected(_))));
    let whole = wrap(&kms).await;
    assert!(unwrap(&kms, &whole).await.is_ok());
}

#[tokio::test]
async fn other_kek_is_described_in_place_of_the_true_one() {
    let kms = provider();
    let truth = kms.describe().await.unwrap();
    let other = KekDescription::new(truth.versions().to_vec(), &id("b")).unwrap();
    kms.on_describe().next(1, Fault::other_kek(other.clone()));
    assert_eq!(kms.describe().await.unwrap(), other);
    assert_eq!(kms.describe().await.unwrap(), truth);
}

#[tokio::test]
async fn altered_call_that_fails_still_fails() {
    let kms = provider();
    kms.on_unwrap().next(1, Fault::other_secret());
    assert!(matches!(unwrap(&kms, b"garbage").await, Err(KmsError::Rejected(_))));
}

#[tokio::test]
async fn every_call_that_began_is_counted_and_no_other() {
    let kms = provider();
    drop(kms.describe());
    assert_eq!(kms.calls(), 0);
    assert!(kms.describe().await.is_ok());
    let wrapped = wrap(&kms).await;
    kms.on_unwrap().next(1, Fault::fail(KmsError::Unavailable(None)));
    assert!(unwrap(&kms, &wrapped).await.is_err());
    assert!(unwrap(&kms, &wrapped).await.is_ok());
    let counts = [kms.on_describe().calls(), kms.on_wrap().calls(), kms.on_unwrap().calls()];
    assert_eq!(counts, [1, 1, 2]);
    assert_eq!(kms.calls(), 4);
}

#[tokio::test]
async fn of_concurrent_calls_exactly_the_scripted_number_fails() {
    let kms = Arc::new(provider());
    kms.on_describe().next(5, Fault::fail(KmsError::Unavailable(None)));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let kms = Arc::clone(&kms);
        calls.spawn(async move { kms.describe().await.is_err() });
    }
    let failed = calls.join_all().await.into_iter().filter(|failed| *failed).count();
    assert_eq!(failed, 5);
}

#[tokio::test]
async fn a_decision_is_asked_about_each_call_that_has_no_fault_coming() {
    let kms = provider();
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    kms.on_describe().decide(move || {
        let mut asked = counted.lock().unwrap();
        *asked += 1;
        (*asked == 2).then(|| Fault::fail(KmsError::Denied(None)))
    });
    kms.on_describe().next(1, Fault::fail(KmsError::Unavailable(None)));
    assert!(matches!(kms.describe().await, Err(KmsError::Unavailable(_))));
    assert!(kms.describe().await.is_ok());
    assert!(matches!(kms.describe().await, Err(KmsError::Denied(_))));
    assert!(kms.describe().await.is_ok());
    assert_eq!(*asked.lock().unwrap(), 3);
    kms.on_describe().clear();
    assert!(kms.describe().await.is_ok());
    assert_eq!(*asked.lock().unwrap(), 3);
}
