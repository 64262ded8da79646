//! Puts scripted faults before a master key, where the server cannot tell them from real ones.

use std::sync::Arc;
use std::time::Duration;

use selkie_config::{SealFault, SealOperation, SealOutcome};
use selkie_crypto::{RecipientSecret, SealName};
use selkie_kms::{Fault, Faulty, KekDescription, Kms, KmsError};
use tracing::warn;

use super::Bench;

/// `kms`, with the faults that the script of `bench` has for the seal `name`; `kms` itself where
/// there is no bench.
pub(crate) fn scripted(
    kms: Arc<dyn Kms>,
    name: &SealName,
    bench: Option<&Arc<Bench>>,
) -> Arc<dyn Kms> {
    let Some(bench) = bench else { return kms };
    let faulty = Faulty::new(kms);
    let (asked, seal) = (Arc::clone(bench), name.clone());
    faulty.on_describe().decide(move || asked.describing(&seal));
    let (asked, seal) = (Arc::clone(bench), name.clone());
    faulty.on_wrap().decide(move || asked.wrapping(&seal));
    let (asked, seal) = (Arc::clone(bench), name.clone());
    faulty.on_unwrap().decide(move || asked.unwrapping(&seal));
    Arc::new(faulty)
}

impl Bench {
    fn describing(&self, seal: &SealName) -> Option<Fault<KekDescription>> {
        let wrong = || Fault::fail(KmsError::Misbehaved(None));
        self.seal(seal, SealOperation::Describe).map(|fault| played(fault, wrong))
    }

    fn wrapping(&self, seal: &SealName) -> Option<Fault<Vec<u8>>> {
        self.seal(seal, SealOperation::Wrap).map(|fault| played(fault, Fault::damaged))
    }

    fn unwrapping(&self, seal: &SealName) -> Option<Fault<Arc<RecipientSecret>>> {
        self.seal(seal, SealOperation::Unwrap).map(|fault| played(fault, Fault::other_secret))
    }

    fn seal(&self, seal: &SealName, operation: SealOperation) -> Option<(Duration, SealOutcome)> {
        let script = self.script.load();
        let SealFault { name, delay, outcome, .. } = script.seal(seal, operation)?;
        warn!(
            fault = name,
            seal = seal.as_str(),
            ?operation,
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            ?outcome,
            "a scripted fault happens at a seal"
        );
        self.count(name.clone());
        Some((*delay, *outcome))
    }
}

fn played<T>((delay, outcome): (Duration, SealOutcome), wrong: impl Fn() -> Fault<T>) -> Fault<T> {
    let fault = match outcome {
        SealOutcome::Answer => Fault::delay(delay),
        SealOutcome::Away => Fault::fail(KmsError::Unavailable(None)),
        SealOutcome::Throttled => {
            Fault::fail(KmsError::Throttled { retry_after: None, cause: None })
        }
        SealOutcome::Denied => Fault::fail(KmsError::Denied(None)),
        SealOutcome::Hang => Fault::hang(),
        SealOutcome::Wrong => wrong(),
    };
    fault.after(delay)
}
