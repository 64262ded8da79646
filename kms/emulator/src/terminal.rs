//! What the program prints.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use selkie_emulator::{Running, Totals};

/// What to paste, for someone who tries it.
pub(crate) fn welcome(out: &mut impl Write, running: &Running) -> io::Result<()> {
    let welcome = running.welcome();
    let (https, http, ca) = (running.https(), running.http(), running.ca_file().display());
    writeln!(out, "selkie-emulator: Azure Key Vault, managed identity and Entra, for tests only")?;
    for (vault, keys) in &welcome.vaults {
        writeln!(out, "  vault     {vault}: {}", keys.join(", "))?;
    }
    writeln!(out, "  identity  {}", welcome.identities.join(", "))?;
    writeln!(out, "  tenant    {}", welcome.tenant)?;
    writeln!(out, "  CA        {ca}")?;
    writeln!(out, "  control   http://{http}/control/\n")?;
    let vault = welcome.vaults.first();
    let vault_name = vault.map_or("kv1", |(name, _)| name.as_str());
    let key_name = vault.and_then(|(_, keys)| keys.first()).map_or("KEY", String::as_str);
    writeln!(out, "Selkie's configuration:\n")?;
    writeln!(out, "  seal \"azurekeyvault\" {{")?;
    writeln!(out, "    vault_name    = \"{vault_name}\"")?;
    writeln!(out, "    key_name      = \"{key_name}\"")?;
    writeln!(out, "    endpoint      = \"https://localhost:{}\"", https.port())?;
    writeln!(out, "    ca_file       = \"{ca}\"")?;
    writeln!(out, "    imds_endpoint = \"http://{http}\"")?;
    writeln!(out, "  }}\n")?;
    writeln!(out, "Microsoft's clients (the host name has to lead to {}):\n", https.ip())?;
    writeln!(out, "  export IDENTITY_ENDPOINT=http://{http}/msi/token")?;
    writeln!(out, "  export IDENTITY_HEADER={}", welcome.app_service_header)?;
    writeln!(out, "  export SSL_CERT_FILE={ca} REQUESTS_CA_BUNDLE={ca}")?;
    writeln!(out, "  # https://{vault_name}.vault.emulator.test:{}/\n", https.port())
}

/// The line for machines.
pub(crate) fn ready(out: &mut impl Write, running: &Running) -> io::Result<()> {
    let ca = running.ca_file().display();
    writeln!(out, "READY https={} http={} ca={ca}", running.https(), running.http())
}

/// The last line.
pub(crate) fn summary(out: &mut impl Write, totals: Totals) -> io::Result<()> {
    writeln!(out, "selkie-emulator: stopped after {}", figures(totals))
}

fn figures(totals: Totals) -> String {
    let Totals { requests, throttled, faults } = totals;
    format!("{requests} requests, {throttled} throttled, {faults} touched by fault rules")
}

/// Clears the line when it is no longer kept.
struct ProgressLine;

impl Drop for ProgressLine {
    fn drop(&mut self) {
        let _terminal_gone = write!(io::stderr(), "\r\x1b[K");
    }
}

/// A line that is kept up to date, if standard error is a terminal.
pub(crate) async fn progress(running: &Running, quiet: bool) {
    if quiet || !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let _cleared_at_the_end = ProgressLine;
    let mut shown = None;
    loop {
        let totals = running.totals();
        if shown != Some(totals) {
            let _terminal_gone = write!(io::stderr(), "\r\x1b[K{}", figures(totals));
            let _terminal_gone = io::stderr().flush();
            shown = Some(totals);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
