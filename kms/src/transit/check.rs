//! The walk of `selkie doctor`: each hop on the way to the other server and back.

use std::fmt;
use std::time::Duration;

use selkie_crypto::{Random, RandomError, RecipientSecret};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout};

use super::classify::on_the_way;
use super::kms::is_read_denied;
use super::{TransitDiagnosis, TransitHop, TransitKms, TransitOutcome};
use crate::http::{HttpError, HttpHop, ProbeFact};
use crate::{Call, ClientTag, KekDescription, Kms, KmsError};

const PATIENCE: Duration = Duration::from_secs(15);
/// A token that lives no longer than this deserves a thought.
const SHORT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// One step of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitStep {
    /// Where.
    pub hop: TransitHop,
    /// What was found there.
    pub finding: TransitFinding,
}

/// What a step has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransitFinding {
    /// All is well; a few words on what was seen.
    Passed(String),
    /// It works, and deserves a thought.
    Warned(TransitWarning),
    /// It does not work.
    Failed(TransitDiagnosis),
}

/// What is no failure today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitWarning {
    /// The way is in clear.
    Clear,
    /// We may not look at our own token.
    TokenUnseen,
    /// The token ends and is not renewed.
    TokenEnds {
        /// In so many seconds.
        seconds: u64,
    },
    /// Its renewal fails.
    TokenNotRenewed(TransitOutcome),
    /// We may not read the key.
    KeyUnread,
    /// The key may be deleted over the API.
    Deletable,
    /// Old versions of the key do not decrypt any more.
    OldVersionsDisabled {
        /// The oldest that does.
        oldest: u32,
    },
}

type Report<'r> = &'r mut (dyn FnMut(TransitStep) + Send);

impl TransitKms {
    /// Walks to the engine and back with a random DEK and tells `report` of each step; what makes
    /// the rest meaningless ends the walk.
    ///
    /// # Errors
    /// [`RandomError`] if there is no DEK to walk with.
    pub async fn check(&self, random: &Random, report: Report<'_>) -> Result<(), RandomError> {
        let dek = RecipientSecret::try_init_with(|bytes| random(bytes))?;
        if let Err(failed) = Box::pin(self.walk(&dek, report)).await {
            report(TransitStep { hop: failed.hop, finding: TransitFinding::Failed(failed) });
        }
        Ok(())
    }

    async fn walk(
        &self,
        dek: &RecipientSecret,
        report: Report<'_>,
    ) -> Result<(), TransitDiagnosis> {
        self.check_way(report).await?;
        self.check_token(report).await?;
        self.check_key(report).await?;
        self.check_round_trip(dek, report).await
    }

    async fn check_way(&self, report: Report<'_>) -> Result<(), TransitDiagnosis> {
        let url = self.client.url("sys/health");
        let wrong = self.client.unanswered(TransitHop::Tcp, TransitOutcome::AnswerWrong);
        let uri = http::Uri::try_from(url.as_str()).or(Err(wrong))?;
        let mut failed = Ok(());
        let mut observe = |hop, seen: Result<ProbeFact, HttpError>| match seen {
            // What it says of itself without a token counts for nothing.
            Ok(ProbeFact::Answered(_)) => {}
            Ok(fact) => passed(report, walked(hop), fact.to_string()),
            Err(error) => failed = Err(on_the_way(&error, TransitHop::Tcp)),
        };
        self.client.http().probe(&uri, &mut observe).await;
        if failed.is_ok() && url.scheme() == "http" {
            warned(report, TransitHop::Tls, TransitWarning::Clear);
        }
        failed
    }

    async fn check_token(&self, report: Report<'_>) -> Result<(), TransitDiagnosis> {
        let hop = TransitHop::Token;
        if !self.client.has_token() {
            passed(report, hop, "none is sent".to_owned());
            return Ok(());
        }
        match self.in_time(hop, self.client.look_up_self()).await {
            Ok(lease) if lease.ttl.is_zero() => {
                passed(report, hop, "it never expires".to_owned());
                return Ok(());
            }
            Ok(lease) => {
                let seconds = lease.ttl.as_secs();
                passed(report, hop, format!("it expires in {seconds} s unless it is renewed"));
                if !lease.is_renewable || self.client.leaves_token_alone() && lease.ttl < SHORT_LIFE
                {
                    warned(report, hop, TransitWarning::TokenEnds { seconds });
                }
                if !lease.is_renewable {
                    return Ok(());
                }
            }
            Err(error) if is_read_denied(&error) => {
                warned(report, hop, TransitWarning::TokenUnseen);
            }
            Err(error) => return Err(self.diagnosis(hop, &error)),
        }
        if !self.client.leaves_token_alone() {
            self.check_renewal(report).await;
        }
        Ok(())
    }

    /// A server does the same as soon as it uses the token.
    async fn check_renewal(&self, report: Report<'_>) {
        let hop = TransitHop::Token;
        match self.in_time(hop, self.client.renew_self()).await {
            Ok(_) => passed(report, hop, "its renewal works".to_owned()),
            Err(error) => {
                let outcome = self.diagnosis(hop, &error).outcome;
                warned(report, hop, TransitWarning::TokenNotRenewed(outcome));
            }
        }
    }

    async fn check_key(&self, report: Report<'_>) -> Result<(), TransitDiagnosis> {
        let hop = TransitHop::ReadKey;
        match self.in_time(hop, self.client.read_key(&self.key)).await {
            Ok(key) if !key.is_suitable => {
                return Err(self.client.unanswered(hop, TransitOutcome::KeyUnsuitable));
            }
            Ok(key) => {
                passed(report, hop, format!("{}, {}, version {}", self.key, key.kind, key.latest));
                let oldest = key.min_decryption;
                let warnings = [
                    key.is_deletable.then_some(TransitWarning::Deletable),
                    (oldest > 1).then_some(TransitWarning::OldVersionsDisabled { oldest }),
                ];
                warnings.into_iter().flatten().for_each(|warning| warned(report, hop, warning));
            }
            Err(error) if is_read_denied(&error) => warned(report, hop, TransitWarning::KeyUnread),
            Err(error) => return Err(self.diagnosis(hop, &error)),
        }
        Ok(())
    }

    async fn check_round_trip(
        &self,
        dek: &RecipientSecret,
        report: Report<'_>,
    ) -> Result<(), TransitDiagnosis> {
        let hop = TransitHop::Encrypt;
        let described: Result<KekDescription, _> = self.in_time(hop, self.describe()).await;
        let described = described.map_err(|error| self.diagnosis(hop, &error))?;
        let current = described.current();
        let wrapped = self.wrap_dek(&current.id, dek, probe()).await;
        let wrapped = wrapped.map_err(|error| self.diagnosis(hop, &error))?;
        passed(report, hop, format!("a random DEK is wrapped under {}", current.id));
        let hop = TransitHop::Decrypt;
        let algorithm = current.wrapping.algorithm();
        let found = self.unwrap_dek(&current.id, algorithm, &wrapped, probe()).await;
        let found = found.map_err(|error| self.diagnosis(hop, &error))?;
        let is_same: bool = found.expose_for_wrap().ct_eq(dek.expose_for_wrap()).into();
        if !is_same {
            return Err(self.client.unanswered(hop, TransitOutcome::AnswerWrong));
        }
        passed(report, hop, "the same DEK comes back".to_owned());
        Ok(())
    }

    async fn in_time<T>(
        &self,
        hop: TransitHop,
        work: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        let late = || self.client.unanswered(hop, TransitOutcome::TimedOut);
        timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late().into()))
    }

    fn diagnosis(&self, hop: TransitHop, error: &KmsError) -> TransitDiagnosis {
        let unknown = || self.client.unanswered(hop, TransitOutcome::AnswerWrong);
        TransitDiagnosis::of(error).cloned().unwrap_or_else(unknown)
    }
}

const fn walked(step: HttpHop) -> TransitHop {
    match step {
        HttpHop::Dns => TransitHop::Dns,
        HttpHop::Proxy => TransitHop::Proxy,
        HttpHop::Tls => TransitHop::Tls,
        HttpHop::Tcp | HttpHop::Request | HttpHop::Exchange => TransitHop::Tcp,
    }
}

fn probe() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + PATIENCE }
}

fn passed(report: &mut (dyn FnMut(TransitStep) + Send), hop: TransitHop, what: String) {
    report(TransitStep { hop, finding: TransitFinding::Passed(what) });
}

fn warned(report: &mut (dyn FnMut(TransitStep) + Send), hop: TransitHop, warning: TransitWarning) {
    report(TransitStep { hop, finding: TransitFinding::Warned(warning) });
}

impl TransitWarning {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Clear => "use https, unless something on this machine speaks TLS for us",
            Self::TokenUnseen => {
                "allow the token `read` on auth/token/lookup-self (the policy `default` does)"
            }
            Self::TokenEnds { .. } => TransitOutcome::TokenNotRenewable.remedy(),
            Self::TokenNotRenewed(outcome) => outcome.remedy_at(TransitHop::Token),
            Self::KeyUnread => {
                "allow the token `read` on MOUNT/keys/KEY: its newest version is learned by a test \
                 encryption until then"
            }
            Self::Deletable => {
                "vault write MOUNT/keys/KEY/config deletion_allowed=false: with the key goes all \
                 that is wrapped under it"
            }
            Self::OldVersionsDisabled { .. } => TransitOutcome::VersionDisallowed.remedy(),
        }
    }
}

impl fmt::Display for TransitWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clear => f.write_str("DEKs and the token travel in clear"),
            Self::TokenUnseen => f.write_str("how long the token lives is not known"),
            Self::TokenEnds { seconds } => {
                write!(f, "the token ends in {seconds} s, and Selkie does not renew it")
            }
            Self::TokenNotRenewed(outcome) => write!(f, "the token is not renewed: {outcome}"),
            Self::KeyUnread => f.write_str("the transit key may not be read"),
            Self::Deletable => f.write_str("the transit key may be deleted"),
            Self::OldVersionsDisabled { oldest } => {
                write!(f, "versions of the transit key before {oldest} do not decrypt")
            }
        }
    }
}
