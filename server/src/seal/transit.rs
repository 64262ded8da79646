//! From the stanza `seal "transit"` to what the provider is told, and from its walk to what
//! `selkie doctor` prints.

use selkie_config::{ProxyUrl, TransitSeal, UpstreamToken};
use selkie_crypto::Random;
use selkie_kms::transit::{
    TokenSource, TransitFinding, TransitKms, TransitMountPath, TransitSettings, TransitStep,
};

use super::examination::{Examined, Examiner, Finding, Report, Step};

/// What the provider is told of the seal whose engine is mounted at `mount`.
pub(crate) fn settings(seal: TransitSeal, mount: TransitMountPath) -> TransitSettings {
    TransitSettings {
        address: seal.address,
        mount,
        namespace: seal.namespace,
        token: match seal.token {
            UpstreamToken::Nowhere => TokenSource::Nowhere,
            UpstreamToken::Given(token) => TokenSource::Given(token),
            UpstreamToken::File(path) => TokenSource::File(path),
        },
        disable_renewal: seal.disable_renewal,
        client_certificate: seal.client_certificate,
        ca_certificates: seal.ca_certificates,
        server_name: seal.server_name,
        proxy: seal.proxy.map(ProxyUrl::into_url),
    }
}

impl Examiner for TransitKms {
    fn examine<'a>(&'a self, random: &'a Random, _: bool, report: Report<'a>) -> Examined<'a> {
        Box::pin(async move {
            let mut is_well = true;
            let mut tell = |step: TransitStep| {
                is_well &= !matches!(step.finding, TransitFinding::Failed(_));
                report(Step { hop: step.hop.to_string(), finding: finding(step.finding) });
            };
            if let Err(error) = self.check(random, &mut tell).await {
                // A walk that never began must not leave the exit code of a good one.
                let advice = "the operating system has no randomness: try again".to_owned();
                let finding = Finding::Failed { what: error.to_string(), advice };
                report(Step { hop: "wrap, unwrap".into(), finding });
                return false;
            }
            is_well
        })
    }
}

fn finding(found: TransitFinding) -> Finding {
    match found {
        TransitFinding::Passed(seen) => Finding::Passed(seen),
        TransitFinding::Warned(warning) => {
            Finding::Warned { what: warning.to_string(), advice: warning.remedy().to_owned() }
        }
        TransitFinding::Failed(diagnosis) => {
            Finding::Failed { what: diagnosis.to_string(), advice: diagnosis.remedy().to_owned() }
        }
    }
}
