//! A master key in an HSM, over its maker's PKCS#11 library. The library is loaded by a child
//! process, `selkie-pkcs11` ([`launcher`], [`launch_process`]), which is ended and started again
//! when it hangs or crashes ([`supervisor`]); what is asked of it goes over one socket ([`child`]).
//! Which keys are meant and how they wrap is decided here ([`keys`]).

mod check;
mod child;
mod diagnosis;
mod keys;
mod launch_process;
mod launcher;
mod pin;
mod probe;
mod provider;
mod settings;
mod supervisor;

pub use check::{Finding, Step, Warning};
pub use diagnosis::{Diagnosis, Fault, Unsuitable};
pub use keys::differ_in_serial_alone;
pub use launch_process::{
    LaunchChild, has_launch_process_ended, may_launch, serve_launches, start_launch_process,
};
pub use launcher::Launcher;
pub use pin::Pin;
pub use provider::Pkcs11Kms;
pub use selkie_pkcs11_protocol::{Class, Mechanism, SlotChoice, Stage};
pub use settings::Pkcs11Settings;
pub use supervisor::retry_locked_pins;
