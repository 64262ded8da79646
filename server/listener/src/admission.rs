use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Too many requests are under way, and none ended while this one waited. To be answered with 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are being worked on")]
pub struct Overloaded;

/// How many requests may be worked on at a time, by all services that share a clone.
///
/// The queue in front of it needs no limit of its own: a connection speaks HTTP/1 and waits with
/// one request at most, so the listeners' connection limits bound it.
#[derive(Clone, Debug)]
pub struct InFlight {
    permits: Arc<Semaphore>,
    patience: Duration,
}

/// One request's admission; dropped when the work on it is done.
#[derive(Debug)]
#[must_use = "dropping it lets the next request in"]
pub struct Admitted {
    _permit: OwnedSemaphorePermit,
}

impl InFlight {
    /// Admits `limit` requests at a time; a further one waits for `patience`, first come, first
    /// served.
    #[must_use]
    pub fn new(limit: usize, patience: Duration) -> Self {
        let permits = limit.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), patience }
    }

    /// Waits to be admitted.
    ///
    /// # Errors
    /// [`Overloaded`] when nothing ended in time.
    pub async fn admit(&self) -> Result<Admitted, Overloaded> {
        if let Some(admitted) = self.admit_now() {
            return Ok(admitted);
        }
        // The semaphore is never closed, so either failure means that nothing became free.
        match tokio::time::timeout(self.patience, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Admitted { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
    }

    fn admit_now(&self) -> Option<Admitted> {
        // Fails also while others wait, so nobody jumps the queue.
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .ok()
            .map(|permit| Admitted { _permit: permit })
    }
}

/// A service that works on a request only when [`InFlight`] admits it, and otherwise answers with
/// what `refuse` makes of the request.
///
/// An admission lasts until the inner service has made its response, not until the peer has taken
/// it: else those who read slowly could keep everybody out.
#[derive(Clone)]
pub struct Admitting<S, F> {
    service: S,
    in_flight: InFlight,
    refuse: F,
}

impl<S, F> Admitting<S, F> {
    /// Puts `in_flight` in front of `service`.
    pub fn new(service: S, in_flight: InFlight, refuse: F) -> Self {
        Self { service, in_flight, refuse }
    }
}

impl<S, F> fmt::Debug for Admitting<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitting").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

impl<S, F, R> Service<R> for Admitting<S, F>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    F: Fn(&R, Overloaded) -> S::Response + Clone + Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AdmittingFuture<S::Future, S::Response, S::Error>;

    fn call(&self, request: R) -> Self::Future {
        let stage = match self.in_flight.admit_now() {
            Some(admitted) => Stage::Working { reply: self.service.call(request), admitted },
            None => Stage::Queued { reply: Box::pin(self.clone().queue(request)) },
        };
        AdmittingFuture { stage }
    }
}

impl<S, F> Admitting<S, F> {
    async fn queue<R>(self, request: R) -> Result<S::Response, S::Error>
    where
        S: Service<R>,
        F: Fn(&R, Overloaded) -> S::Response,
    {
        match self.in_flight.admit().await {
            Ok(_admitted) => self.service.call(request).await,
            Err(overloaded) => Ok((self.refuse)(&request, overloaded)),
        }
    }
}

pin_project! {
    /// The reply of an [`Admitting`] service. A request that is admitted at once costs no
    /// allocation.
    #[must_use = "futures do nothing unless polled"]
    pub struct AdmittingFuture<W, T, E> {
        #[pin]
        stage: Stage<W, T, E>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<W, T, E> {
        Working { #[pin] reply: W, admitted: Admitted },
        Queued { reply: Pin<Box<dyn Future<Output = Result<T, E>> + Send>> },
    }
}

impl<W, T, E> Future for AdmittingFuture<W, T, E>
where
    W: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageProjection::Working { reply, .. } => reply.poll(cx),
            StageProjection::Queued { reply } => reply.as_mut().poll(cx),
        }
    }
}

impl<W, T, E> fmt::Debug for AdmittingFuture<W, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmittingFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[derive(Clone)]
    struct Hanging;

    impl Service<&'static str> for Hanging {
        type Response = String;
        type Error = Infallible;
        type Future = std::future::Pending<Result<String, Infallible>>;

        fn call(&self, _: &'static str) -> Self::Future {
            pending()
        }
    }

    fn refuse(request: &&'static str, overloaded: Overloaded) -> String {
        format!("{request}: {overloaded}")
    }

    #[tokio::test(start_paused = true)]
    async fn one_too_many_is_overloaded_after_the_wait() {
        let in_flight = InFlight::new(1, PATIENCE);
        let _admitted = in_flight.admit().await.unwrap();
        let asked = tokio::time::Instant::now();
        assert_eq!(in_flight.admit().await.unwrap_err(), Overloaded);
        assert_eq!(asked.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_admitted_when_another_ends() {
        let in_flight = InFlight::new(1, PATIENCE);
        let first = in_flight.admit().await.unwrap();
        let second = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.admit().await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_answers_what_the_caller_supplied() {
        let service = Admitting::new(Hanging, InFlight::new(1, PATIENCE), refuse);
        let _first = service.call("first");
        let refused = service.call("second").await.unwrap();
        assert_eq!(refused, "second: too many requests are being worked on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_dropped_gives_its_place_back() {
        let in_flight = InFlight::new(1, PATIENCE);
        let service = Admitting::new(Hanging, in_flight.clone(), refuse);
        drop(service.call("first"));
        assert!(in_flight.admit().await.is_ok());
    }
}
