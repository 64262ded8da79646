//! How many records are asked for at once: no more than come in time.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use super::fault::EtcdFault;

/// An answer that took less than this part of its time may have twice as many records.
const QUICK: u32 = 4;

/// The most records that a page may have at present, for all who list: where each page began with the
/// whole that came too late before, no listing of a large store would end.
pub(super) struct Paging(AtomicI64);

impl Paging {
    pub(super) const fn new() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }

    /// What `page` answers for at most `limit` records, and for fewer if so many make too large an answer,
    /// or one that did not come within `patience`. In between `probe` must be answered: a cluster that is
    /// away is not asked for less and less.
    pub(super) async fn read<A, Pages, Probe>(
        &self,
        limit: NonZeroUsize,
        patience: Duration,
        page: impl Fn(i64) -> Pages,
        probe: impl Fn() -> Probe,
    ) -> Result<A, EtcdFault>
    where
        Pages: Future<Output = Result<A, EtcdFault>>,
        Probe: Future<Output = Result<(), EtcdFault>>,
    {
        let mut limit = i64::try_from(limit.get()).unwrap_or(i64::MAX);
        loop {
            let most = self.0.load(Ordering::Relaxed);
            limit = limit.min(most);
            let began = Instant::now();
            match page(limit).await {
                Err(EtcdFault::Answer { code: Code::OutOfRange, .. }) if limit > 1 => limit /= 2,
                Err(EtcdFault::Silent { .. }) if limit > 1 => {
                    limit /= 2;
                    self.0.store(limit, Ordering::Relaxed);
                    probe().await?;
                }
                Ok(answer) => {
                    if limit == most && began.elapsed() < patience / QUICK {
                        self.0.store(limit.saturating_mul(2), Ordering::Relaxed);
                    }
                    return Ok(answer);
                }
                Err(fault) => return Err(fault),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);
    const LIMIT: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

    /// A cluster at the end of a link that takes its time for each record.
    struct Cluster {
        per_record: Duration,
        is_away: bool,
        asked: Mutex<Vec<i64>>,
    }

    impl Cluster {
        fn new(per_record: Duration, is_away: bool) -> Self {
            Self { per_record, is_away, asked: Mutex::default() }
        }

        async fn answer(&self, records: i64) -> Result<i64, EtcdFault> {
            let time = self.per_record * u32::try_from(records).unwrap();
            sleep(time.min(PATIENCE)).await;
            if self.is_away || time > PATIENCE {
                return Err(EtcdFault::Silent { endpoint: "m".to_owned() });
            }
            Ok(records)
        }

        async fn list(&self, paging: &Paging) -> Result<i64, EtcdFault> {
            let page = |limit| {
                self.asked.lock().unwrap().push(limit);
                self.answer(limit)
            };
            paging.read(LIMIT, PATIENCE, page, || async { self.answer(1).await.map(drop) }).await
        }

        fn asked(&self) -> Vec<i64> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_comes_too_late_is_asked_for_by_halves_and_the_next_one_is_as_short() {
        let (slow, paging) = (Cluster::new(Duration::from_millis(5), false), Paging::new());
        assert_eq!(slow.list(&paging).await.unwrap(), 512);
        assert_eq!(slow.asked(), [4096, 2048, 1024, 512]);
        // Twice as many would take more than their time.
        assert_eq!(slow.list(&paging).await.unwrap(), 512);
        assert_eq!(slow.asked(), [512]);
    }

    #[tokio::test(start_paused = true)]
    async fn pages_grow_again_while_they_come_quickly() {
        let (quick, paging) = (Cluster::new(Duration::from_micros(1), false), Paging::new());
        paging.0.store(1024, Ordering::Relaxed);
        for _ in 0..4 {
            quick.list(&paging).await.unwrap();
        }
        assert_eq!(quick.asked(), [1024, 2048, 4096, 4096]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_away_is_told_after_one_page_and_one_probe() {
        let (away, paging) = (Cluster::new(PATIENCE, true), Paging::new());
        let began = Instant::now();
        let fault = away.list(&paging).await.unwrap_err();
        assert!(matches!(fault, EtcdFault::Silent { .. }), "{fault:?}");
        assert_eq!(began.elapsed(), 2 * PATIENCE);
        assert_eq!(away.asked(), [4096]);
    }
}
