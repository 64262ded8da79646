//! What `selkie doctor` finds on the way to the server whose key is taken over.

use super::OldKey;
use super::old_key::lacks_right;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::seal::{Finding, SealFault, Step};
use crate::telemetry::WithCauses;

impl OldKey {
    /// Asks the old server for its newest version, and compares it with ours in `deployment`.
    pub async fn examine(&self, deployment: &Deployment, clock: &dyn Clock) -> Vec<Step> {
        self.read_newest(clock).await;
        let step = |hop: &str, finding| Step { hop: hop.to_owned(), finding };
        let mut steps = vec![step("old server", self.answered())];
        if let Some(newest) = self.conflict(deployment) {
            let what =
                format!("the key's version is not above {newest}, the newest of the old key");
            let advice =
                "raise the key's \"generation\" (or \"version\") above it, or no Vault moves";
            let finding = Finding::Failed { what, advice: advice.to_owned() };
            steps.push(step("version", finding));
        }
        steps
    }

    fn answered(&self) -> Finding {
        let newest = self.newest().map(|newest| newest.version);
        match (self.health().read_fault, newest) {
            (None, Some(newest)) => {
                Finding::Passed(format!("answers; the newest version of its key is {newest}"))
            }
            (None, None) => Finding::Passed("answers".to_owned()),
            (Some(fault), Some(newest)) if lacks_right(&fault) => Finding::Passed(format!(
                "accepts our token, which is not allowed to read the key; declared newest version: {newest}"
            )),
            (Some(fault), None) if lacks_right(&fault) => Finding::Warned {
                what: "accepts our token, which is not allowed to read the key: its newest version is unknown"
                    .to_owned(),
                advice: "allow the takeover's token `read` on the old key, or declare last_version"
                    .to_owned(),
            },
            (Some(fault), _) => {
                let fault = SealFault::Kms(fault);
                Finding::Failed {
                    what: WithCauses(&fault).to_string(),
                    advice: fault.advice().to_owned(),
                }
            }
        }
    }
}
