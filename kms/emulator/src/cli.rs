//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use selkie_emulator::Options;

const EXAMPLE: &str = "\
Example: one vault, one RSA key, one managed identity that may use it

  selkie-emulator &
  curl -s -H Metadata:true 'http://127.0.0.1:8444/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'
  curl -s --cacert CA -H \"Authorization: Bearer TOKEN\" 'https://localhost:8443/keys/selkie?api-version=7.4'

Example: Key Vault is throttled for the next three unwraps, then away

  curl -s http://127.0.0.1:8444/control/faults -d '{\"match\":{\"operation\":\"unwrap\"},\"how\":{\"status\":429,\"retry_after\":2},\"times\":3}'
  curl -s http://127.0.0.1:8444/control/listen -d '{\"https\":\"closed\"}'

Example: the key is rotated, a year passes, who asked what

  curl -s -X POST http://127.0.0.1:8444/control/vaults/kv1/keys/selkie/rotate
  curl -s http://127.0.0.1:8444/control/clock -d '{\"advance_seconds\":31536000}'
  curl -s http://127.0.0.1:8444/control/stats

CONTROL.md has the control API, the fault rules and the files in full. Everything in the emulator is for tests:
whoever reaches its ports controls it, and no key in it is a secret.";

/// Plays Azure Key Vault, Managed HSM, managed identity and Entra on loopback, with faults on demand.
#[derive(Debug, Parser)]
#[command(name = "selkie-emulator", version, after_help = EXAMPLE)]
pub(crate) struct Arguments {
    /// HTTPS: Key Vault, Managed HSM, Entra (port 0: a free one)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// HTTP: IMDS, App Service identity, the control API (port 0: a free one)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8444")]
    identity_listen: SocketAddr,
    /// What there is at the start: vaults, keys, identities, apps, roles (JSON)
    #[arg(long, value_name = "FILE")]
    vaults: Option<PathBuf>,
    /// Fault rules from the start (JSON: a rule or a list)
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Write the state there at the end, private keys included; read it at the start if it exists
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Keep the CA there instead of making a new one at each start
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
    /// Let no vault throttle
    #[arg(long)]
    no_throttle: bool,
    /// Print the READY line alone
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Arguments {
    pub(crate) fn options(&self) -> Options {
        Options {
            listen: self.listen,
            identity_listen: self.identity_listen,
            vaults: self.vaults.clone(),
            faults: self.faults.clone(),
            save: self.save.clone(),
            ca_dir: self.ca_dir.clone(),
            throttle: !self.no_throttle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_shows_an_example() {
        use clap::CommandFactory;
        let mut command = Arguments::command();
        command.clone().debug_assert();
        assert!(command.render_help().to_string().contains("/control/faults"));
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        assert!(Arguments::try_parse_from(["selkie-emulator", "--listen", "localhost"]).is_err());
    }
}
