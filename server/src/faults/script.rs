//! How far a script of faults has come. The same script and the same calls give the same faults.

use std::sync::atomic::{AtomicU64, Ordering};

use selkie_config::{Faults, RequestFault, SealFault, SealOperation, When};
use selkie_crypto::SealName;
use tokio::time::Instant;

use super::{BenchRequest, Happening};

/// A script from its beginning, and how far each rule has counted.
pub(super) struct Script {
    began: Instant,
    seed: u64,
    requests: Vec<Rule<RequestFault>>,
    seals: Vec<Rule<SealFault>>,
}

struct Rule<F> {
    fault: F,
    when: When,
    /// Calls that the rule is about, while its window was open.
    calls: AtomicU64,
    /// Tells its chances from those of other rules.
    index: u64,
}

impl Script {
    pub(super) fn new(faults: Faults) -> Self {
        let Faults { seed, requests, seals } = faults;
        Self {
            began: Instant::now(),
            seed,
            requests: rules(requests, |fault| fault.when, 0),
            seals: rules(seals, |fault| fault.when, u64::from(u32::MAX)),
        }
    }

    pub(super) fn rules(&self) -> usize {
        self.requests.len().saturating_add(self.seals.len())
    }

    pub(super) fn asks_for_clients(&self) -> bool {
        let asks = |rule: &Rule<RequestFault>| {
            rule.fault.client.is_some() || rule.fault.accessor.is_some()
        };
        self.requests.iter().any(asks)
    }

    /// The name of the rule that takes a request, and what comes of it.
    pub(super) fn request(&self, asked: BenchRequest<'_>) -> Option<(String, Happening)> {
        let fault = self.first(&self.requests, |fault| is_about(fault, asked))?;
        let happening = Happening { delay: fault.delay, outcome: fault.outcome.clone() };
        Some((fault.name.clone(), happening))
    }

    /// The rule that takes a call of a master key.
    pub(super) fn seal(&self, seal: &SealName, operation: SealOperation) -> Option<&SealFault> {
        self.first(&self.seals, |fault| {
            fault.seal.as_ref().is_none_or(|name| name == seal)
                && (fault.on.is_empty() || fault.on.contains(&operation))
        })
    }

    /// The first rule in the file that takes a call; each one that is about it counts it.
    fn first<'r, F>(&self, rules: &'r [Rule<F>], is_about: impl Fn(&F) -> bool) -> Option<&'r F> {
        let elapsed = self.began.elapsed();
        let mut taken = None;
        for rule in rules.iter().filter(|rule| is_about(&rule.fault)) {
            if !rule.when.window.includes(elapsed) {
                continue;
            }
            let call = rule.calls.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if rule.when.calls.include(call, chance(self.seed, rule.index, call)) {
                taken = taken.or(Some(&rule.fault));
            }
        }
        taken
    }
}

fn rules<F>(faults: Vec<F>, when: impl Fn(&F) -> When, from: u64) -> Vec<Rule<F>> {
    let rule = |(index, fault): (u64, F)| Rule {
        when: when(&fault),
        calls: AtomicU64::new(0),
        fault,
        index,
    };
    (from..).zip(faults).map(rule).collect()
}

fn is_about(fault: &RequestFault, asked: BenchRequest<'_>) -> bool {
    let is_operation = fault.on.is_empty()
        || asked.operation.is_some_and(|operation| fault.on.contains(&operation));
    let is_key = fault.key.as_ref().is_none_or(|key| asked.key == Some(key.as_str()));
    let (client, accessor) = asked.client.unzip();
    let is_client = fault.client.as_deref().is_none_or(|name| client == Some(name));
    let is_accessor = fault.accessor.as_deref().is_none_or(|name| accessor == Some(name));
    is_operation && is_key && is_client && is_accessor
}

/// From 0 to 1, without 1: the same for the same seed, rule and call (SplitMix64).
#[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds exactly")]
pub(super) fn chance(seed: u64, rule: u64, call: u64) -> f64 {
    let mut z = seed
        .wrapping_add(rule.wrapping_mul(0xd134_2543_de82_ef95))
        .wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
