//! What looks cost the store, and whom they keep waiting.

use std::mem::take;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};

use super::*;
use crate::look_budget::LOOK_PATIENCE;
use crate::state::records::looks::PAUSE;

kind!(Deed, "deed", &[Claim::ROOT]);
kind!(Fact, "fact", &[]);
kind!(Act, "act", &[Fact::ROOT]);

/// A store that lists notes so many times, and gets what is written before it lists claims.
#[derive(Debug)]
struct Gated {
    inner: Arc<dyn Store>,
    gate: Semaphore,
    listings: AtomicUsize,
    before_claims: Mutex<Vec<Write>>,
}

impl Store for Gated {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            if page.under.as_ref().is_some_and(|under| under.as_str() == Claim::ROOT) {
                let writes = take(&mut *self.before_claims.lock().unwrap());
                if !writes.is_empty() {
                    self.inner.commit(&[], &writes).await?;
                }
            }
            if page.under.as_ref().is_some_and(|under| under.as_str() == Note::ROOT) {
                self.listings.fetch_add(1, Ordering::Relaxed);
                self.gate.acquire().await.unwrap().forget();
            }
            self.inner.list(page).await
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.inner.commit(guards, writes)
    }

    fn watch(&self, after: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(after)
    }
}

/// A replica whose watch tells nothing, with a store that others write to.
struct Bench {
    records: Records,
    claims: Arc<Mirror<Claim>>,
    deeds: Mirror<Deed>,
    acts: Mirror<Act>,
    notes: Arc<Mirror<Note>>,
    store: Arc<Gated>,
}

impl Bench {
    /// Its store lists notes so many times after the start.
    async fn new(listings: usize) -> Arc<Self> {
        let (claims, notes) = (Arc::<Mirror<Claim>>::default(), Arc::<Mirror<Note>>::default());
        let mirrors: Vec<Arc<dyn Mirrors>> = vec![
            Arc::clone(&claims) as _,
            Arc::<Mirror<Fact>>::default() as _,
            Arc::clone(&notes) as _,
        ];
        let records = Records::new(true, mirrors, Arc::new(SystemClock));
        let gate = Semaphore::new(listings + 1);
        let (inner, listings, before_claims) = (store(), AtomicUsize::new(0), Mutex::default());
        let store = Arc::new(Gated { inner, gate, listings, before_claims });
        records.attach(Arc::clone(&store) as _).await.unwrap();
        let (deeds, acts) = (Mirror::default(), Mirror::default());
        Arc::new(Self { records, claims, deeds, acts, notes, store })
    }

    async fn somebody_writes(&self, text: &str) {
        let place = Mirror::<Note>::place(&"a".into()).unwrap();
        let write = [Write::Put(place, Note(text.into()).encode().unwrap())];
        self.store.inner.commit(&[], &write).await.unwrap();
    }

    fn ask(self: &Arc<Self>, from: Option<IpAddr>) -> JoinHandle<Result<(), RecordsError>> {
        let this = Arc::clone(self);
        tokio::spawn(async move { soon(this.records.hear_what_judges(&this.claims, from)).await })
    }

    fn text(&self) -> Option<String> {
        self.notes.get(&"a".into()).unwrap().map(|current| current.value.0.clone())
    }

    /// Since the start.
    fn listings(&self) -> usize {
        self.store.listings.load(Ordering::Relaxed) - 1
    }
}

const SOMEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn nothing_is_read_anew_and_no_look_spent_where_nobody_else_writes() {
    let claims = Arc::new(Mirror::<Claim>::default());
    let mirrors: Vec<Arc<dyn Mirrors>> = vec![Arc::clone(&claims) as _];
    let records = Records::new(true, mirrors, Arc::new(SystemClock));
    records.attach(store()).await.unwrap();
    for _ in 0..200 {
        records.hear_what_judges(&claims, Some(SOMEWHERE)).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_listed_where_nobody_has_written_since_it_was_heard_of() {
    let bench = Bench::new(0).await;
    for from in [None, Some(SOMEWHERE)] {
        bench.ask(from).await.unwrap().unwrap();
    }
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let write = [Write::Put(place, Note("heard".into()).encode().unwrap())];
    let revision = bench.store.inner.commit(&[], &write).await.unwrap();
    bench.records.follow(revision, &write);
    for from in [None, Some(SOMEWHERE)] {
        bench.ask(from).await.unwrap().unwrap();
    }
    assert_eq!(bench.listings(), 0);
}

#[tokio::test]
async fn one_listing_is_for_all_who_wait_for_it() {
    let bench = Bench::new(0).await;
    bench.somebody_writes("first").await;
    let asked: Vec<_> = (0..20).map(|_| bench.ask(None)).collect();
    for _ in 0..100 {
        yield_now().await;
    }
    bench.store.gate.add_permits(100);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    assert_eq!((bench.listings(), bench.text().as_deref()), (1, Some("first")));
    bench.somebody_writes("second").await;
    bench.ask(None).await.unwrap().unwrap();
    assert_eq!((bench.listings(), bench.text().as_deref()), (2, Some("second")), "it asked later");
}

/// From however many networks they come.
#[tokio::test(start_paused = true)]
async fn all_strangers_together_cause_a_listing_now_and_then() {
    let bench = Bench::new(1000).await;
    let (mut asked, began) = (Vec::new(), Instant::now());
    for network in 0..100 {
        bench.somebody_writes("new").await;
        asked.push(bench.ask(Some(Ipv4Addr::new(10, network, 0, 1).into())));
        sleep(Duration::from_millis(10)).await;
    }
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    let pauses = began.elapsed().as_millis() / PAUSE.as_millis();
    assert!((2..=pauses + 1).contains(&(bench.listings() as u128)), "{}", bench.listings());
    // Who is known waits for no stranger's pause.
    let before = Instant::now();
    for text in ["one", "two"] {
        bench.somebody_writes(text).await;
        bench.ask(None).await.unwrap().unwrap();
        assert_eq!(bench.text().as_deref(), Some(text));
    }
    assert!(before.elapsed() < PAUSE / 2);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_takes_longer_than_anybody_waits_serves_those_who_ask_again() {
    let bench = Bench::new(0).await;
    bench.somebody_writes("late").await;
    for _ in 0..3 {
        let given_up = bench.ask(Some(SOMEWHERE)).await.unwrap();
        assert!(matches!(given_up, Err(RecordsError::Store(_))), "{given_up:?}");
    }
    assert_eq!(bench.listings(), 1, "the others waited for it");
    bench.store.gate.add_permits(1);
    bench.ask(Some(SOMEWHERE)).await.unwrap().unwrap();
    assert_eq!((bench.listings(), bench.text().as_deref()), (1, Some("late")));
}

/// As logins list roles, and tokens policies.
#[tokio::test(start_paused = true)]
async fn a_listing_of_one_kind_keeps_none_of_another_waiting() {
    let bench = Bench::new(0).await;
    bench.somebody_writes("slow").await;
    let slow = bench.ask(Some(SOMEWHERE));
    for _ in 0..100 {
        yield_now().await;
    }
    let other = bench.records.hear_what_judges(&bench.acts, None);
    timeout(LOOK_PATIENCE / 4, other).await.unwrap().unwrap();
    assert!(slow.await.unwrap().is_err());
    assert_eq!(bench.listings(), 1);
}

/// As a policy, and a role that names it.
#[tokio::test]
async fn what_is_written_while_a_kind_is_listed_is_not_held_before_what_judges_it() {
    let bench = Bench::new(1).await;
    let claim = RecordValue::new(Vec::new()).unwrap();
    let writes = [
        Write::Put(
            Mirror::<Note>::place(&"a".into()).unwrap(),
            Note("judge".into()).encode().unwrap(),
        ),
        Write::Put(Mirror::<Claim>::place(&"b".into()).unwrap(), claim),
    ];
    bench.store.before_claims.lock().unwrap().extend(writes);
    let place = Mirror::<Act>::place(&"other".into()).unwrap();
    let other = [Write::Put(place, RecordValue::new(Vec::new()).unwrap())];
    bench.store.inner.commit(&[], &other).await.unwrap();
    bench.records.hear_what_judges(&bench.deeds, None).await.unwrap();
    assert!(bench.claims.get(&"b".into()).unwrap().is_some());
    assert_eq!(bench.text().as_deref(), Some("judge"));
}
