//! Fault rules: which requests, what happens to them, how often.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::operation::{Operation, Service};

/// A rule as it is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(default)]
    r#match: Matcher,
    how: How,
    #[serde(default)]
    times: Option<u64>,
    #[serde(default)]
    after: u64,
}

/// Which requests; what is left out matches everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Matcher {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

/// What happens.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct How {
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) innererror: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<RetryAfter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rbac_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_lifetime_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_audience: Option<String>,
}

/// `Retry-After`: seconds, or text such as a date.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum RetryAfter {
    Seconds(u32),
    Text(String),
}

/// What can happen to a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Hang,
    Reset,
    Close,
    Truncate,
    Stall,
    Empty,
    Html,
    LoseBody,
    WrongKey,
    WrongVersion,
    WrongHost,
    ShortResult,
    LongResult,
    OtherResult,
    IntegerExpiresOn,
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("\"how\" says nothing that happens")]
    Nothing,
    #[error("a status is 200 to 599")]
    Status,
    #[error("a probability is 0 to 1")]
    Probability,
    #[error("latency_ms and jitter_ms are at most 3600000")]
    Latency,
    #[error("retry_after is a number, or text of visible characters")]
    RetryAfter,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) service: Service,
    pub(crate) operation: Operation,
    pub(crate) vault: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) authenticated: bool,
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    pub(crate) latency: Duration,
    pub(crate) how: Option<Arc<How>>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    last_id: u64,
    active: Vec<ActiveRule>,
}

/// A rule in force, as the control API shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ActiveRule {
    id: u64,
    #[serde(flatten)]
    rule: Rule,
    seen: u64,
    applied: u64,
    #[serde(skip)]
    how: Arc<How>,
    #[serde(skip)]
    added_ms: i64,
}

impl How {
    fn only_waits(&self) -> bool {
        self.effect.is_none()
            && self.status.is_none()
            && self.rbac_delay_ms.is_none()
            && !self.changes_the_token()
    }

    fn changes_the_token(&self) -> bool {
        self.token_lifetime_seconds.is_some()
            || self.token_tenant.is_some()
            || self.token_audience.is_some()
    }

    fn waits(&self) -> Duration {
        let jitter = self.jitter_ms.unwrap_or(0) as f64 * random_fraction();
        Duration::from_millis(self.latency_ms.unwrap_or(0))
            + Duration::try_from_secs_f64(jitter / 1000.0).unwrap_or_default()
    }
}

impl Rule {
    /// Checks the rule; `retry_after` alone means 429.
    pub(crate) fn checked(mut self) -> Result<Self, RuleError> {
        let how = &mut self.how;
        if how.retry_after.is_some() && how.status.is_none() {
            how.status = Some(429);
        }
        let texts = how.code.is_some() || how.innererror.is_some() || how.message.is_some();
        let waits = how.latency_ms.is_some() || how.jitter_ms.is_some();
        if how.only_waits() && (texts || !waits) {
            return Err(RuleError::Nothing);
        }
        if how.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(RuleError::Status);
        }
        if how.latency_ms.max(how.jitter_ms).is_some_and(|ms| ms > 3_600_000) {
            return Err(RuleError::Latency);
        }
        if let Some(RetryAfter::Text(text)) = &how.retry_after
            && http::HeaderValue::from_str(text).is_err()
        {
            return Err(RuleError::RetryAfter);
        }
        match self.r#match.probability {
            Some(p) if !(0.0..=1.0).contains(&p) => Err(RuleError::Probability),
            _ => Ok(self),
        }
    }
}

impl Matcher {
    fn matches(&self, subject: Subject<'_>) -> bool {
        let names = |wanted: &Option<String>, is: Option<&str>| match (wanted, is) {
            (None, _) => true,
            (Some(wanted), Some(is)) => wanted.eq_ignore_ascii_case(is),
            (Some(_), None) => false,
        };
        self.service.is_none_or(|service| service == Service::Any || service == subject.service)
            && self.operation.is_none_or(|op| op == Operation::Any || op == subject.operation)
            && names(&self.vault, subject.vault)
            && names(&self.key, subject.key)
            && self.authenticated.is_none_or(|wanted| wanted == subject.authenticated)
            && self.probability.is_none_or(|p| random_fraction() < p)
    }
}

impl ActiveRule {
    /// Counts the request, and says whether the rule applies to it.
    fn applies(&mut self, subject: Subject<'_>, now_ms: i64) -> bool {
        if let Some(delay) = self.how.rbac_delay_ms {
            let spent = now_ms.saturating_sub(self.added_ms) >= i64::try_from(delay).unwrap_or(0);
            if spent || subject.service != Service::Keyvault || !subject.authenticated {
                return false;
            }
        }
        if !self.rule.r#match.matches(subject) {
            return false;
        }
        self.seen += 1;
        let in_turn = self.seen > self.rule.after;
        let left = self.rule.times.is_none_or(|times| self.applied < times);
        if in_turn && left {
            self.applied += 1;
        }
        in_turn && left
    }
}

impl Faults {
    /// Adds rules; their ids.
    pub(crate) fn add(&self, rules: Vec<Rule>, now_ms: i64) -> Vec<u64> {
        let mut all = self.lock();
        let mut ids = Vec::new();
        for rule in rules {
            all.last_id += 1;
            let id = all.last_id;
            let how = Arc::new(rule.how.clone());
            all.active.push(ActiveRule { id, rule, seen: 0, applied: 0, how, added_ms: now_ms });
            ids.push(id);
        }
        ids
    }

    pub(crate) fn list(&self) -> Vec<ActiveRule> {
        self.lock().active.clone()
    }

    pub(crate) fn clear(&self) {
        self.lock().active.clear();
    }

    /// Takes one rule away; whether it was there.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let active = &mut self.lock().active;
        let before = active.len();
        active.retain(|rule| rule.id != id);
        active.len() < before
    }

    /// What happens to a request.
    pub(crate) fn decide(&self, subject: Subject<'_>, now_ms: i64) -> Decision {
        let mut decision = Decision::default();
        for rule in &mut self.lock().active {
            if rule.applies(subject, now_ms) {
                decision.latency += rule.how.waits();
                if !rule.how.only_waits() {
                    decision.how = Some(Arc::clone(&rule.how));
                    break;
                }
            }
        }
        decision
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a text is no list of rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    /// It is not JSON.
    #[error("{0}")]
    NotJson(#[source] serde_json::Error),
    /// What stands there is no rule.
    #[error("rule {index}: {source}")]
    NotARule { index: usize, source: serde_json::Error },
    /// A rule says what cannot be.
    #[error("rule {index}: {source}")]
    Unfit { index: usize, source: RuleError },
}

/// One rule or a list of them, each checked.
pub(crate) fn parse_rules(text: &[u8]) -> Result<Vec<Rule>, RulesError> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(RulesError::NotJson)?;
    let items = match value {
        serde_json::Value::Array(items) => items,
        one => vec![one],
    };
    let rules = items.into_iter().enumerate().map(|(index, item)| {
        let rule: Rule = serde_json::from_value(item)
            .map_err(|source| RulesError::NotARule { index, source })?;
        rule.checked().map_err(|source| RulesError::Unfit { index, source })
    });
    rules.collect()
}

/// From 0 to below 1.
fn random_fraction() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNWRAP: Subject<'static> = Subject {
        service: Service::Keyvault,
        operation: Operation::Unwrap,
        vault: Some("kv1"),
        key: Some("selkie"),
        authenticated: true,
    };

    fn faults(text: &str) -> Faults {
        let faults = Faults::default();
        faults.add(parse_rules(text.as_bytes()).unwrap(), 0);
        faults
    }

    fn statuses(faults: &Faults, subject: Subject<'_>, count: usize) -> Vec<Option<u16>> {
        (0..count).map(|_| faults.decide(subject, 0).how.and_then(|how| how.status)).collect()
    }

    #[test]
    fn a_rule_skips_the_first_and_applies_so_many_times() {
        let f = faults(
            r#"{"match":{"operation":"unwrap","vault":"KV1"},"how":{"status":503},"after":1,"times":2}"#,
        );
        assert_eq!(statuses(&f, Subject { operation: Operation::Wrap, ..UNWRAP }, 3), [None; 3]);
        assert_eq!(statuses(&f, Subject { vault: None, ..UNWRAP }, 3), [None; 3]);
        assert_eq!(statuses(&f, UNWRAP, 4), [None, Some(503), Some(503), None]);
    }

    #[test]
    fn latencies_add_up_and_the_first_effect_ends_the_search() {
        let f = faults(
            r#"[{"how":{"latency_ms":20}},{"how":{"latency_ms":5,"status":500},"times":1},{"how":{"status":502}}]"#,
        );
        let first = f.decide(UNWRAP, 0);
        assert_eq!(first.latency, Duration::from_millis(25));
        assert_eq!(first.how.unwrap().status, Some(500));
        assert_eq!(statuses(&f, UNWRAP, 1), [Some(502)], "the second rule is spent");
    }

    #[test]
    fn an_rbac_delay_ends_with_its_time() {
        let f = faults(r#"{"how":{"rbac_delay_ms":60000}}"#);
        assert!(f.decide(UNWRAP, 59_999).how.is_some());
        assert!(f.decide(UNWRAP, 60_000).how.is_none());
        assert!(f.decide(Subject { authenticated: false, ..UNWRAP }, 0).how.is_none());
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused_with_its_place() {
        for (text, expected) in [
            (r#"{"how":{}}"#, "says nothing"),
            (r#"{"how":{"message":"x"}}"#, "says nothing"),
            (r#"[{"how":{"status":500}},{"how":{"status":99}}]"#, "rule 1: a status"),
            (r#"{"how":{"effect":"explode"}}"#, "unknown variant"),
            (r#"{"match":{"servcie":"imds"},"how":{"status":500}}"#, "unknown field"),
            (r#"{"match":{"probability":2},"how":{"status":500}}"#, "probability"),
            (r#"{"how":{"retry_after":"a\nb"}}"#, "retry_after"),
            ("{", "EOF"),
        ] {
            let error = parse_rules(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(statuses(&faults(r#"{"how":{"retry_after":3}}"#), UNWRAP, 1), [Some(429)]);
    }
}
