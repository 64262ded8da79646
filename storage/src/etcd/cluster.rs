//! The members of a cluster: one is used until it fails, then the next.

use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::once;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::fault::{Effect, EtcdFault, Fault, is_token_refused};
use super::protocol::auth_client::AuthClient;
use super::protocol::kv_client::KvClient;
use super::protocol::watch_client::WatchClient;
use super::protocol::{
    AuthenticateRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchRequest,
    WatchResponse,
};
use super::settings::{EtcdError, EtcdLogin, EtcdSettings};

/// The largest answer that is taken: far more than any one record or commit.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long a member is trusted with a commit after it last answered.
const TRUST: Duration = Duration::from_secs(1);
/// The longest that a page takes, with all attempts: callers wait for longer, and are to see a shorter one.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when all members have failed in turn.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

pub(super) type Token = MetadataValue<Ascii>;

pub(super) struct Cluster {
    members: Vec<Member>,
    current: AtomicUsize,
    credentials: Option<EtcdLogin>,
    pub(super) timeout: Duration,
    patience: Duration,
    /// A cheap read that only a member in touch with its leader answers.
    probe: RangeRequest,
}

struct Member {
    endpoint: String,
    channel: Channel,
    /// Each member's own: one that lags behind does not know yet what another one issued.
    token: tokio::sync::Mutex<Option<Token>>,
    answered: Mutex<Option<Instant>>,
}

/// A request that a member answers with one message.
pub(super) trait Call: Clone + Send + Sync {
    type Answer: Send;
    fn send(
        request: Request<Self>,
        channel: Channel,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

impl Call for RangeRequest {
    type Answer = RangeResponse;
    async fn send(
        request: Request<Self>,
        channel: Channel,
    ) -> Result<Response<RangeResponse>, Status> {
        KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).range(request).await
    }
}

impl Call for TxnRequest {
    type Answer = TxnResponse;
    async fn send(
        request: Request<Self>,
        channel: Channel,
    ) -> Result<Response<TxnResponse>, Status> {
        KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).txn(request).await
    }
}

impl Cluster {
    pub(super) fn new(settings: EtcdSettings, probe: RangeRequest) -> Result<Self, EtcdError> {
        let member = |endpoint: &String| {
            Ok(Member {
                endpoint: endpoint.clone(),
                channel: settings.channel(endpoint)?,
                token: tokio::sync::Mutex::default(),
                answered: Mutex::default(),
            })
        };
        let members = settings.endpoints.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(EtcdError::NoEndpoints);
        }
        let patience = settings.patience();
        let timeout = settings.request_timeout;
        let (current, credentials) = (AtomicUsize::new(0), settings.credentials);
        Ok(Self { members, current, credentials, timeout, patience, probe })
    }

    /// The answer of any member; asked again and elsewhere until the request timeout is over.
    pub(super) async fn read<C: Call>(&self, call: &C) -> Result<C::Answer, EtcdFault> {
        self.read_until(Instant::now() + self.timeout, call).await.map(|(answer, _)| answer)
    }

    /// As [`read`](Self::read), for a page: to ask for a shorter one takes time too.
    pub(super) async fn read_page(&self, page: &RangeRequest) -> Result<RangeResponse, EtcdFault> {
        let deadline = Instant::now() + self.timeout.min(PAGE_TIMEOUT);
        self.read_until(deadline, page).await.map(|(answer, _)| answer)
    }

    /// How long a member may take for a page.
    pub(super) fn page_patience(&self) -> Duration {
        self.patience.min(PAGE_TIMEOUT)
    }

    /// Whether a member is there that is in touch with its leader.
    pub(super) async fn probe(&self) -> Result<(), EtcdFault> {
        self.read(&self.probe).await.map(drop)
    }

    /// The answer to a request that must not be sent twice: `Effect::None` of a fault says that
    /// nobody took it within the request timeout.
    pub(super) async fn write<C: Call>(&self, call: &C) -> Result<C::Answer, Fault> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let member = self.trusted(deadline).await?;
            let attempt = self.attempt(member, call);
            let outcome = timeout_at(deadline, attempt).await;
            let fault = match outcome.unwrap_or_else(|_late| Err(Fault::silent(&member.endpoint))) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            self.avoid(member);
            if fault.effect != Effect::None || Instant::now() + PAUSE >= deadline {
                return Err(fault);
            }
            sleep(PAUSE).await;
        }
    }

    /// A member that answered just now, so that few commits are sent to one that is gone: what is
    /// sent there has no known outcome.
    async fn trusted(&self, deadline: Instant) -> Result<&Member, Fault> {
        let member = self.current();
        if member.answered().is_some_and(|answered| answered.elapsed() < TRUST) {
            return Ok(member);
        }
        let nothing_sent = |why| Fault { why, effect: Effect::None };
        let (_, member) = self.read_until(deadline, &self.probe).await.map_err(nothing_sent)?;
        Ok(member)
    }

    async fn read_until<C: Call>(
        &self,
        deadline: Instant,
        call: &C,
    ) -> Result<(C::Answer, &Member), EtcdFault> {
        let mut before = BTreeMap::new();
        for attempts in 1.. {
            let member = self.current();
            let endpoint = member.endpoint.as_str();
            let patience = Instant::now() + self.patience;
            let attempt = timeout_at(patience.min(deadline), self.attempt(member, call));
            let fault = match attempt.await {
                Ok(Ok(answer)) => return Ok((answer, member)),
                Ok(Err(fault)) => fault,
                Err(_late) => {
                    let silent = Fault::silent(endpoint);
                    // Of one that had less than its time, what it did with the whole says more.
                    let known = before.remove(endpoint).filter(|_| deadline < patience);
                    known.unwrap_or(silent)
                }
            };
            if fault.effect == Effect::Refused {
                return Err(fault.why);
            }
            self.avoid(member);
            if Instant::now() + PAUSE >= deadline {
                return Err(fault.why);
            }
            before.insert(endpoint, fault);
            if attempts % self.members.len() == 0 {
                sleep(PAUSE).await;
            }
        }
        Err(Fault::silent(&self.current().endpoint).why)
    }

    /// The events of `create`, from the member that answered last; and which one that is.
    pub(super) async fn follow(
        &self,
        create: WatchRequest,
    ) -> Result<(Streaming<WatchResponse>, &str), Fault> {
        let member = self.current();
        let open = async {
            let token = self.token(member).await?;
            // A watch ends when its requests do.
            let requests = once(ready(create)).chain(once(pending()));
            let mut client = WatchClient::new(member.channel.clone());
            client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
            let opened = client.watch(request(requests, token)).await;
            opened.map_err(|status| Fault::of(&status, &member.endpoint))
        };
        let outcome = timeout_at(Instant::now() + self.patience, open).await;
        match outcome.unwrap_or_else(|_late| Err(Fault::silent(&member.endpoint))) {
            Ok(stream) => Ok((stream.into_inner(), &member.endpoint)),
            Err(fault) => {
                self.avoid(member);
                Err(fault)
            }
        }
    }

    /// Sends `call` to one member; twice if the first was refused for its old token.
    async fn attempt<C: Call>(&self, member: &Member, call: &C) -> Result<C::Answer, Fault> {
        let token = self.token(member).await?;
        let mut outcome = member.send(call, token.clone()).await;
        if let (Err(status), Some(refused)) = (&outcome, token)
            && is_token_refused(status)
        {
            member.forget(&refused).await;
            outcome = member.send(call, self.token(member).await?).await;
        }
        outcome.map_err(|status| Fault::of(&status, &member.endpoint))
    }

    /// A token of `member`, if there are credentials. Whoever waits for one has sent nothing yet.
    async fn token(&self, member: &Member) -> Result<Option<Token>, Fault> {
        let Some(login) = &self.credentials else { return Ok(None) };
        let mut slot = member.token.lock().await;
        if slot.is_none() {
            let issued = member.authenticate(login).await;
            *slot = Some(issued.map_err(|fault| match fault.effect {
                Effect::Open => Fault { effect: Effect::None, ..fault },
                Effect::None | Effect::Refused => fault,
            })?);
        }
        Ok(slot.clone())
    }

    fn current(&self) -> &Member {
        let index = self.current.load(Ordering::Relaxed);
        // The first stands in for an index that is never out of range.
        self.members.get(index).unwrap_or(&self.members[0])
    }

    /// Turns to the next member, unless someone has turned away from this one already.
    fn avoid(&self, member: &Member) {
        member.set_answered(None);
        let current = self.current.load(Ordering::Relaxed);
        if self.members.get(current).is_some_and(|m| std::ptr::eq(m, member)) {
            let next = (current + 1) % self.members.len();
            let _lost_to_another =
                self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Member {
    async fn send<C: Call>(&self, call: &C, token: Option<Token>) -> Result<C::Answer, Status> {
        let answer = C::send(request(call.clone(), token), self.channel.clone()).await?;
        self.set_answered(Some(Instant::now()));
        Ok(answer.into_inner())
    }

    async fn authenticate(&self, login: &EtcdLogin) -> Result<Token, Fault> {
        let name = login.username.clone();
        let message = AuthenticateRequest { name, password: login.password.to_string() };
        let answer = AuthClient::new(self.channel.clone()).authenticate(message).await;
        let answer = answer.map_err(|status| Fault::of(&status, &self.endpoint))?.into_inner();
        let malformed = |_not_ascii| Fault::malformed(&self.endpoint);
        let mut token = Token::try_from(answer.token).map_err(malformed)?;
        token.set_sensitive(true);
        Ok(token)
    }

    async fn forget(&self, refused: &Token) {
        let mut slot = self.token.lock().await;
        slot.take_if(|token| token == refused);
    }

    fn answered(&self) -> Option<Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_answered(&self, when: Option<Instant>) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = when;
    }
}

/// `message`, for a member only that is in touch with a leader.
fn request<T>(message: T, token: Option<Token>) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("hasleader", MetadataValue::from_static("true"));
    if let Some(token) = token {
        metadata.insert("token", token);
    }
    request
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic::ConnectError;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const FAILS_AFTER: Duration = Duration::from_millis(40);

    /// Fails each time, after a while.
    #[derive(Clone)]
    struct Failing;

    impl Call for Failing {
        type Answer = ();
        async fn send(_: Request<Self>, _: Channel) -> Result<Response<()>, Status> {
            sleep(FAILS_AFTER).await;
            Err(Status::unavailable("no"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_the_end_cuts_short_hides_no_fault() {
        let settings = EtcdSettings::of_nobody(TIMEOUT);
        let cluster = Cluster::new(settings, RangeRequest::default()).unwrap();
        let began = Instant::now();
        let fault = cluster.read(&Failing).await.unwrap_err();
        assert_eq!(began.elapsed(), TIMEOUT, "the last attempt was cut short");
        assert!(matches!(fault, EtcdFault::Answer { .. }), "{fault:?}");
    }

    /// Of two members one hangs and the other one refuses connections.
    #[derive(Clone)]
    struct HalfAway(Arc<AtomicUsize>);

    impl Call for HalfAway {
        type Answer = ();
        async fn send(request: Request<Self>, _: Channel) -> Result<Response<()>, Status> {
            if request.into_inner().0.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                pending::<()>().await;
            }
            Err(Status::from_error(Box::new(ConnectError("refused".into()))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_refuses_connections_does_not_hide_that_the_one_cut_short_is_silent() {
        for first in 0..2 {
            let of_two = vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
            let settings = EtcdSettings { endpoints: of_two, ..EtcdSettings::of_nobody(TIMEOUT) };
            let cluster = Cluster::new(settings, RangeRequest::default()).unwrap();
            let call = HalfAway(Arc::new(AtomicUsize::new(first)));
            let began = Instant::now();
            let fault = cluster.read(&call).await.unwrap_err();
            assert_eq!(began.elapsed(), TIMEOUT, "the last attempt was cut short");
            assert!(matches!(fault, EtcdFault::Silent { .. }), "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_nobody_takes_ends_in_its_time() {
        let settings = EtcdSettings::of_nobody(TIMEOUT);
        let cluster = Cluster::new(settings, RangeRequest::default()).unwrap();
        let began = Instant::now();
        let fault = cluster.write(&TxnRequest::default()).await.unwrap_err();
        assert_eq!(fault.effect, Effect::None, "{fault:?}");
        let took = began.elapsed();
        assert!((TIMEOUT - PAUSE..=TIMEOUT).contains(&took), "{took:?}");
    }
}
