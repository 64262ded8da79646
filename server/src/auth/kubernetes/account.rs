//! The service account in a token, and whether a role is for it.

use std::collections::BTreeMap;

use selkie_config::{KubernetesRole, ServiceAccountAlias};
use serde_json::Value;

use crate::auth::jwt::{Claims, Compact, Expected, Unbelievable, glob};

/// The service account that a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    name: String,
    namespace: String,
    uid: String,
    /// Of a token that lies in a secret, as all did before Kubernetes 1.22.
    secret: String,
}

/// Why the token is not of an account that the role is for. The texts are Vault's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotBound {
    #[error(transparent)]
    Unbelievable(Unbelievable),
    #[error("the token is not of a service account")]
    NoAccount,
    #[error("service account name not authorized")]
    Name,
    #[error("namespace not authorized")]
    Namespace,
    #[error("the API server names another account than the token")]
    OtherAccount,
}

impl Account {
    /// The account that proven claims name, in either of the forms that Kubernetes writes.
    pub(super) fn of(claims: &Claims) -> Result<Self, NotBound> {
        Self::read(|claim| claims.get(claim)).ok_or(NotBound::NoAccount)
    }

    /// The account that a token names of which only times, issuer and audience are checked: the
    /// API server is asked about the rest.
    pub(super) fn unproven(
        token: &str,
        expected: &Expected<'_>,
        now: u64,
    ) -> Result<Self, NotBound> {
        let token = Compact::parse(token).map_err(Unbelievable::from)?;
        Self::of(&token.claims_for_review(expected, now)?)
    }

    fn read<'a>(claim: impl Fn(&'static str) -> Option<&'a Value>) -> Option<Self> {
        let text = |name| claim(name).and_then(Value::as_str);
        let either = |new, old| text(new).or_else(|| text(old)).filter(|text| !text.is_empty());
        let name = either(
            "/kubernetes.io/serviceaccount/name",
            "/kubernetes.io~1serviceaccount~1service-account.name",
        );
        let namespace =
            either("/kubernetes.io/namespace", "/kubernetes.io~1serviceaccount~1namespace");
        let uid = either(
            "/kubernetes.io/serviceaccount/uid",
            "/kubernetes.io~1serviceaccount~1service-account.uid",
        );
        let secret = text("/kubernetes.io~1serviceaccount~1secret.name").unwrap_or_default();
        Some(Self {
            name: name?.to_owned(),
            namespace: namespace?.to_owned(),
            uid: uid?.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// Whether the role is for it.
    pub(super) fn check(&self, role: &KubernetesRole) -> Result<(), NotBound> {
        let fits = |bound: &[String], text: &str| bound.iter().any(|one| glob(one, text));
        if !fits(&role.bound_service_account_namespaces, &self.namespace) {
            return Err(NotBound::Namespace);
        }
        let is_named = fits(&role.bound_service_account_names, &self.name);
        if is_named { Ok(()) } else { Err(NotBound::Name) }
    }

    /// Whether it is this account.
    pub(super) fn is(&self, name: &str, namespace: &str, uid: &str) -> bool {
        self.name == name && self.namespace == namespace && self.uid == uid
    }

    pub(super) fn alias(&self, source: ServiceAccountAlias) -> String {
        match source {
            ServiceAccountAlias::ServiceaccountUid => self.uid.clone(),
            ServiceAccountAlias::ServiceaccountName => format!("{}/{}", self.namespace, self.name),
        }
    }

    pub(super) fn display_name(&self) -> String {
        format!("{}-{}", self.namespace, self.name)
    }

    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("service_account_name", &self.name),
            ("service_account_namespace", &self.namespace),
            ("service_account_secret_name", &self.secret),
            ("service_account_uid", &self.uid),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}
