//! `selkie client add`: what a new seal client needs, to be pasted into two configuration files; or
//! an operator.

mod operator;

use std::io::Write;
use std::time::Duration;

use selkie_access::{KeyName, MountPath};
use selkie_config::ClientName;
use selkie_hcl::Document;
use zeroize::Zeroizing;

use self::operator::Operator;
use super::{CommandError, print};
use crate::seal_client::{NewToken, SealClient};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A name for the Vault, such as "vault-eu", or for the operator.
    #[arg(value_parser = ClientName::new)]
    name: ClientName,
    /// Print a token for the commands that ask a running server (status, drill, backup, export),
    /// instead of one for a Vault.
    #[arg(long, conflicts_with_all = ["key", "period"])]
    operator: bool,
    /// The transit key it uses.
    #[arg(long, default_value = "autounseal")]
    key: KeyName,
    /// The mount of that key; of an operator, the mount whose keys it may list.
    #[arg(long, default_value = "transit")]
    mount: MountPath,
    /// What the Vault is told that each renewal is worth; a declared token itself never expires.
    #[arg(long, default_value = "24h", value_parser = period)]
    period: String,
    /// The URL under which the Vault, or the operator, reaches Selkie.
    #[arg(long, default_value = "https://SELKIE:8200", value_parser = url)]
    address: String,
}

/// A text is no period that the configuration would take.
#[derive(Debug, thiserror::Error)]
#[error("expected a duration of a second or more, such as \"24h\", \"90s\" or \"1h30m\"")]
struct NotAPeriod;

/// A text is no URL that a Vault could use.
#[derive(Debug, thiserror::Error)]
#[error("expected a URL that begins with \"https://\" or \"http://\"")]
struct NotAUrl;

pub(super) fn add(arguments: Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let Arguments { name, operator, key, mount, period, address } = arguments;
    let token = NewToken::random()?;
    if operator {
        return print(output, &Operator { name, mount, token }.sheet(&address));
    }
    let client = SealClient { name, key, mount, period, token };
    print(output, &sheet(&client, &address))
}

fn sheet(client: &SealClient, address: &str) -> Zeroizing<String> {
    let SealClient { name, key, mount, .. } = client;
    let parts = [
        "# 1. For Selkie's configuration file, then reload it (SIGHUP). Nothing here is secret.\n",
        &format!("#    It must also declare the key: key \"{key}\" {{ mount = \"{mount}\" }}\n\n"),
        &client.declaration(),
        "\n",
        &client.policy(),
        &format!("\n# 2. For the configuration file of the Vault \"{name}\".\n"),
        "#    THE TOKEN IS A SECRET AND IS SHOWN THIS ONCE: Selkie knows its SHA-256 alone. It can\n",
        "#    also be left out here and given to the Vault as the environment variable VAULT_TOKEN.\n",
        "#    Where Selkie's certificate is of an authority of your own, add tls_ca_cert = \"FILE\".\n",
        "\n",
        &client.seal_stanza(address, None),
    ];
    Zeroizing::new(parts.concat())
}

/// Reads the text as the configuration file will.
fn period(text: &str) -> Result<String, NotAPeriod> {
    let line = format!("period = {text:?}");
    let read = || {
        let document = Document::parse("--period", &line).ok()?;
        let mut root = document.root();
        let period = root.field("period").duration().map(|period| period.value);
        root.finish();
        document.finish().ok().and(period)
    };
    match read() {
        Some(period) if period >= Duration::from_secs(1) => Ok(text.to_owned()),
        _ => Err(NotAPeriod),
    }
}

fn url(text: &str) -> Result<String, NotAUrl> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(text.to_owned())
        }
        _ => Err(NotAUrl),
    }
}

#[cfg(test)]
mod tests;
