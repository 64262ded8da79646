//! From the stanza `seal "pkcs11"` to what the provider is told, and from its walk to what
//! `selkie doctor` prints.

use std::path::PathBuf;

use selkie_config::{Pkcs11Mechanism, Pkcs11Seal};
use selkie_crypto::Random;
use selkie_kms::pkcs11::{
    self as provider, Launcher, Mechanism, Pkcs11Kms, Pkcs11Settings, SlotChoice,
};

use super::examination::{Examined, Examiner, Finding, Report, Step};

/// The name of the program that loads the library.
const PROGRAM: &str = "selkie-pkcs11";

/// What the provider is told of the seal.
pub(super) fn settings(seal: Pkcs11Seal) -> Pkcs11Settings {
    Pkcs11Settings {
        program: seal.program.unwrap_or_else(beside_ourselves),
        library: seal.library,
        slot: SlotChoice { id: seal.slot, token_label: seal.token_label, serial: seal.serial },
        pin: seal.pin.into(),
        key_label: seal.key_label,
        key_id: seal.key_id,
        previous_key_ids: seal.previous_key_ids,
        mechanism: seal.mechanism.map(mechanism),
        max_sessions: seal.max_parallel,
        call_time: seal.timeout,
        environment: seal.environment,
    }
}

/// What the server has to start for the seal.
pub(crate) fn launcher(seal: &Pkcs11Seal) -> Launcher {
    Launcher {
        program: seal.program.clone().unwrap_or_else(beside_ourselves),
        library: seal.library.clone(),
        environment: seal.environment.clone(),
    }
}

const fn mechanism(mechanism: Pkcs11Mechanism) -> Mechanism {
    match mechanism {
        Pkcs11Mechanism::AesGcm => Mechanism::AesGcm,
        Pkcs11Mechanism::AesKeyWrap => Mechanism::AesKeyWrap,
        Pkcs11Mechanism::RsaOaep => Mechanism::RsaOaepSha256,
    }
}

/// A file beside our own program: never one that `PATH` leads to.
fn beside_ourselves() -> PathBuf {
    let ours = std::env::current_exe().unwrap_or_else(|_unknown| PathBuf::from("/usr/bin/selkie"));
    ours.with_file_name(PROGRAM)
}

impl Examiner for Pkcs11Kms {
    fn examine<'a>(&'a self, random: &'a Random, is_new: bool, report: Report<'a>) -> Examined<'a> {
        Box::pin(async move {
            let mut is_well = true;
            let mut tell = |step: provider::Step| {
                is_well &= !matches!(step.finding, provider::Finding::Failed(_));
                report(Step { hop: step.hop.to_owned(), finding: finding(step.finding, is_new) });
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

fn finding(found: provider::Finding, is_new: bool) -> Finding {
    match found {
        provider::Finding::Passed(seen) => Finding::Passed(seen),
        provider::Finding::Warned(warning) => {
            Finding::Warned { what: warning.to_string(), advice: warning.remedy().to_owned() }
        }
        provider::Finding::Failed(diagnosis) => {
            let advice = if is_new { diagnosis.remedy_of_new() } else { diagnosis.remedy() };
            Finding::Failed { what: diagnosis.to_string(), advice: advice.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_advised_to_be_made_only_of_a_seal_that_is_new() {
        let missing = provider::Diagnosis {
            stage: provider::Stage::Key,
            fault: provider::Fault::Token(provider::Class::NoKey),
            said: None,
            is_of_previous: false,
        };
        for is_new in [true, false] {
            let found = finding(provider::Finding::Failed(missing.clone()), is_new);
            let Finding::Failed { advice, .. } = found else { panic!("{found:?}") };
            assert_eq!(advice.contains("--keygen"), is_new, "{advice}");
        }
    }

    #[test]
    fn the_program_is_beside_our_own() {
        let program = beside_ourselves();
        assert!(program.is_absolute() && program.ends_with(PROGRAM), "{program:?}");
        assert_eq!(program.parent(), std::env::current_exe().unwrap().parent());
    }
}
