//! Who is asking: declared clients, tokens made through the API, certificates, and the methods that
//! log others in. What they may do is for selkie-access to say.

mod address;
mod azure;
mod certificate;
mod client;
mod client_cache;
mod configured;
mod declared;
pub mod jwt;
mod kubernetes;
pub mod methods;
pub mod policies;
pub mod tokens;
pub mod wrapping;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use selkie_access::TokenText;
use selkie_crypto::{Plaintext, Random, StateKey};
use selkie_listener::ShownCertificate;
use selkie_storage::{Store, StoreError};

pub(crate) use self::address::ClientNetwork;
pub(crate) use self::certificate::trust_files;
pub use self::certificate::{CertificateWatch, End, LastSeen, OF_CLIENT};
pub use self::client::{Client, Declaration, KnownClient, NotAuthenticated, Origin, StoreWords};
use self::client_cache::ClientCache;
pub use self::declared::Clients;
use self::methods::{AuthMount, AuthTable, MethodError, Methods, Tools};
use self::policies::{Policies, PolicyTable};
use self::tokens::{
    Admitted, Issued, NewToken, RenewError, Renewed, Shown, Sources, TokenError, TokenId, Tokens,
};
use self::wrapping::{Room, ShownWrapping, WrapError, WrapInfo, WrapOrder, Wrapped, Wrapping};
use crate::alerts::Remembered;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::state::records::{Mirror, Records, RecordsError};
use crate::takeover::UsageRecord;

/// What a request shows of who sends it.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The token, if there is one that could be one.
    pub token: Option<&'a TokenText>,
    /// The client certificate, which would pass a handshake now.
    pub certificate: Option<&'a ShownCertificate>,
    /// Where the request comes from.
    pub address: IpAddr,
}

/// Nothing but where a request comes from.
impl From<IpAddr> for Credentials<'_> {
    fn from(address: IpAddr) -> Self {
        Self { token: None, certificate: None, address }
    }
}

/// Everything that is known of clients beside what is declared, which comes with the deployment.
pub struct Auth {
    records: Arc<Records>,
    tokens: Tokens,
    policies: Policies,
    history: Arc<Mirror<Remembered>>,
    takeovers: Arc<Mirror<UsageRecord>>,
    wrapping: Wrapping,
    methods: Methods,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    client_cache: ClientCache,
    certificates: CertificateWatch,
    /// Under which tokens are hashed; there once the state is open.
    state_key: OnceLock<Arc<StateKey>>,
}

impl Auth {
    /// Nothing but what is declared, until a store is attached: `expects_store` says whether one is
    /// configured.
    #[must_use]
    pub fn new(expects_store: bool, clock: Arc<dyn Clock>, random: Arc<Random>) -> Self {
        let tokens = Tokens::new(Arc::clone(&clock), Arc::clone(&random));
        let (policies, methods) = (Policies::new(expects_store), Methods::default());
        let wrapping = Wrapping::new(Arc::clone(&clock), Arc::clone(&random));
        let mirrors = [tokens.mirrors(), policies.mirrors(), methods.mirrors(), wrapping.mirrors()];
        let history = Arc::<Mirror<Remembered>>::default();
        let takeovers = Arc::<Mirror<UsageRecord>>::default();
        let further = [Arc::clone(&history) as _, Arc::clone(&takeovers) as _];
        let mirrors = mirrors.into_iter().flatten().chain(further).collect();
        let records = Arc::new(Records::new(expects_store, mirrors, Arc::clone(&clock)));
        let (client_cache, state_key) = (ClientCache::default(), OnceLock::new());
        let certificates = CertificateWatch::default();
        Self {
            records,
            tokens,
            policies,
            history,
            takeovers,
            wrapping,
            methods,
            clock,
            random,
            client_cache,
            certificates,
            state_key,
        }
    }

    /// Loads what is in `store`, whose records are sealed under `state_key`.
    ///
    /// # Errors
    ///
    /// What the store answers; the caller may try again.
    pub async fn attach(
        &self,
        store: Arc<dyn Store>,
        state_key: Arc<StateKey>,
    ) -> Result<(), StoreError> {
        self.records.attach(store).await?;
        self.policies.are_loaded();
        // Last, because from now on tokens are looked up, and policies with them.
        let _same = self.state_key.set(state_key);
        Ok(())
    }

    /// For how long nothing has been heard of a store of which something must have been heard; zero
    /// while all is well.
    pub(crate) fn unheard_for(&self) -> Duration {
        self.tokens.unheard_for(&self.records)
    }

    /// The records behind all this.
    #[must_use]
    pub const fn records(&self) -> &Arc<Records> {
        &self.records
    }

    /// The tokens made through the API.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The policies made through the API.
    #[must_use]
    pub const fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What clients have done before, as alerts remember it.
    pub(crate) const fn history(&self) -> &Arc<Mirror<Remembered>> {
        &self.history
    }

    /// What clients have opened with keys that are taken over.
    pub(crate) const fn takeovers(&self) -> &Arc<Mirror<UsageRecord>> {
        &self.takeovers
    }

    /// The methods that log clients in, and where they are mounted.
    #[must_use]
    pub const fn methods(&self) -> &Methods {
        &self.methods
    }

    /// What methods work with.
    pub(crate) fn tools(&self) -> Tools<'_> {
        Tools {
            records: &self.records,
            state_key: self.state_key.get().map(|key| &**key),
            clock: &*self.clock,
            token_time: self.tokens.time(),
            random: &*self.random,
        }
    }

    /// Deletes a mount that answers nothing any more, with all that is kept for it and all tokens
    /// that were got there.
    pub(crate) async fn unmount(&self, mount: &AuthMount) -> Result<(), MethodError> {
        self.tokens.revoke_logins(&self.records, &mount.accessor).await?;
        self.methods.remove(self.tools(), mount).await
    }

    /// Makes a token: after a login, or because a client asks for one.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub async fn issue(&self, new: NewToken) -> Result<Issued, TokenError> {
        self.tokens.create(&self.records, self.state_key()?, new, None).await
    }

    /// The same with a text that was chosen for it, which no token may have yet.
    pub(crate) async fn issue_as(
        &self,
        new: NewToken,
        text: TokenText,
    ) -> Result<Issued, TokenError> {
        self.tokens.create(&self.records, self.state_key()?, new, Some(text)).await
    }

    /// What tokens come from.
    fn sources<'a>(&'a self, deployment: &'a Deployment) -> Sources<'a> {
        let mounts = AuthTable { declared: &deployment.auth_mounts, methods: &self.methods };
        let policies = PolicyTable { deployment, policies: &self.policies };
        Sources { clients: &deployment.clients, mounts, policies }
    }

    /// The token of this text, if it lives and this replica has heard of it.
    pub(crate) fn find(
        &self,
        deployment: &Deployment,
        text: &TokenText,
    ) -> Result<Option<Admitted>, RecordsError> {
        let sources = self.sources(deployment);
        match self.state_key() {
            Ok(key) => self.tokens.find(key, sources, text).map_err(RecordsError::from),
            Err(RecordsError::NoStorage) => Ok(None),
            Err(sealed) => Err(sealed),
        }
    }

    /// The token of this text, if it lives. That there is none is for the store to say: another
    /// replica may have made it, and its revocation here would pass for done.
    pub(crate) async fn find_in_store(
        &self,
        deployment: &Deployment,
        text: &TokenText,
    ) -> Result<Option<Admitted>, RecordsError> {
        if !self.records.has_store() {
            return Ok(None);
        }
        let shown = (self.sources(deployment), text);
        self.tokens.find_in_store(&self.records, self.state_key()?, shown).await
    }

    /// The token that has this accessor, if it lives. That there is none is for the store to say, as
    /// above.
    pub(crate) async fn find_accessor(
        &self,
        deployment: &Deployment,
        accessor: &str,
    ) -> Result<Option<Admitted>, RecordsError> {
        if !self.records.has_store() {
            return Ok(None);
        }
        self.state_key()?;
        self.tokens.find_accessor(&self.records, (self.sources(deployment), accessor)).await
    }

    /// Renews a token; an `increment` counts only where it has no period.
    pub(crate) async fn renew(
        &self,
        deployment: &Deployment,
        id: &TokenId,
        increment: Option<Duration>,
    ) -> Result<Renewed, RenewError> {
        self.tokens.renew(&self.records, self.sources(deployment), id, increment).await
    }

    /// The accessors of all tokens that live, in order.
    pub(crate) fn accessors(&self, deployment: &Deployment) -> Vec<String> {
        self.tokens.accessors(self.sources(deployment))
    }

    /// Counts a request as a use of the client's token, where that has a number of them. The client
    /// as it is then.
    pub(crate) async fn count_use(
        &self,
        client: &Arc<Client>,
        text: Option<&TokenText>,
    ) -> Result<Arc<Client>, NotAuthenticated> {
        let (Origin::Token(own), Some(text)) = (&client.origin, text) else {
            return Ok(Arc::clone(client));
        };
        if own.made.num_uses == 0 {
            return Ok(Arc::clone(client));
        }
        let key = self.state_key().map_err(|_sealed| NotAuthenticated::StateSealed)?;
        let token = self.tokens.count_use(&self.records, &TokenId::of(key, text)).await?;
        Ok(Arc::new(Client { origin: Origin::Token(token), ..(**client).clone() }))
    }

    /// Ends a token and all that came from it. Whether there was one.
    pub(crate) async fn revoke(&self, id: &TokenId) -> Result<bool, RecordsError> {
        self.tokens.revoke(&self.records, id).await
    }

    /// Ends a token, whose children go on as orphans. Whether there was one.
    pub(crate) async fn revoke_orphan(&self, id: &TokenId) -> Result<bool, RecordsError> {
        self.tokens.revoke_orphan(&self.records, id).await
    }

    /// Under what tokens are hashed.
    ///
    /// # Errors
    ///
    /// [`RecordsError::NoStorage`], [`RecordsError::StateSealed`].
    pub(crate) fn state_key(&self) -> Result<&StateKey, RecordsError> {
        self.records.store()?;
        self.state_key.get().map(|key| &**key).ok_or(RecordsError::StateSealed)
    }

    /// What is known of the end of certificates.
    #[must_use]
    pub const fn certificates(&self) -> &CertificateWatch {
        &self.certificates
    }

    /// The client that shows these credentials: its token says who it is, else its certificate.
    ///
    /// # Errors
    ///
    /// [`NotAuthenticated`].
    pub async fn authenticate(
        &self,
        deployment: &Deployment,
        credentials: Credentials<'_>,
    ) -> Result<Arc<Client>, NotAuthenticated> {
        let now = self.clock.unix_seconds();
        if credentials.certificate.is_some() {
            let lists = deployment.clients.lists_until();
            for (whose, until) in lists.take_while(|(_, until)| *until <= now) {
                self.certificates.note_lists(whose, Some(until), now);
            }
        }
        let Some(text) = credentials.token else {
            let found = deployment.clients.by_certificate(credentials, now)?;
            self.certificates.note(&found, now);
            return Ok(self.with_managed_policies(deployment, found));
        };
        match deployment.clients.authenticate(text, credentials, now) {
            Err(NotAuthenticated::UnknownToken) if self.records.has_store() => {}
            known => return known.map(|client| self.with_managed_policies(deployment, client)),
        }
        let key = self.state_key().map_err(|_sealed| NotAuthenticated::StateSealed)?;
        let shown = Shown { text, credentials, sources: self.sources(deployment) };
        let token = self.tokens.admit(&self.records, key, shown).await?;
        Ok(self.client_cache.client(deployment, &self.policies, token))
    }

    /// The client that has this token.
    pub(crate) fn client_of(&self, deployment: &Deployment, admitted: Admitted) -> Arc<Client> {
        self.client_cache.client(deployment, &self.policies, admitted)
    }

    /// Room for a response of `owner` that is to be wrapped; empty: who that is turns out.
    pub(crate) fn room_to_wrap(&self, owner: &str) -> Result<Room<'_>, WrapError> {
        self.state_key()?;
        self.wrapping.room(owner)
    }

    /// Keeps `response` for whoever gets the wrapping token, as long as a token would live at most.
    pub(crate) async fn wrap(
        &self,
        response: Plaintext,
        order: WrapOrder,
        room: Room<'_>,
    ) -> Result<WrapInfo, WrapError> {
        let order = WrapOrder { ttl: order.ttl.min(self.tokens.limits().max), ..order };
        self.wrapping.wrap(&self.records, self.state_key()?, response, (order, room)).await
    }

    /// What is kept for this wrapping token.
    pub(crate) async fn look_wrapped(
        &self,
        shown: ShownWrapping<'_>,
    ) -> Result<Option<Arc<Wrapped>>, RecordsError> {
        self.wrapping.look(&self.records, self.state_key()?, shown).await
    }

    /// Whether a response is kept for this wrapping token, and this replica has heard of it.
    pub(crate) fn knows_wrapped(&self, token: &TokenText) -> bool {
        self.state_key().is_ok_and(|key| self.wrapping.knows(key, token))
    }

    /// The response that is kept for this wrapping token, and then no more.
    pub(crate) async fn unwrap(&self, shown: ShownWrapping<'_>) -> Result<Plaintext, WrapError> {
        self.wrapping.unwrap(&self.records, self.state_key()?, shown).await
    }

    /// The same response for another wrapping token.
    pub(crate) async fn rewrap(&self, shown: ShownWrapping<'_>) -> Result<WrapInfo, WrapError> {
        let longest = self.tokens.limits().max;
        self.wrapping.rewrap(&self.records, self.state_key()?, (shown, longest)).await
    }

    /// A declared client, with `default` as it was changed through the API.
    fn with_managed_policies(&self, deployment: &Deployment, client: Arc<Client>) -> Arc<Client> {
        if !self.policies.has_other_default() {
            return client;
        }
        let (Origin::Declared { who, .. } | Origin::Certificate { who, .. }) = &client.origin
        else {
            return client;
        };
        let identity = declared::identity(&who.name, &who.certificate);
        let acl = self.policies.acl(deployment, &who.policies, &identity);
        Arc::new(Client { acl, ..(*client).clone() })
    }

    /// Keeps the token clock and removes what has ended, wrapped responses too, for as long as it is
    /// polled.
    pub async fn keep_tokens(self: Arc<Self>) {
        let token_time = || self.tokens.time();
        tokio::join!(
            self.tokens.keep(&self.records),
            self.wrapping.keep(&self.records, token_time)
        );
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}
