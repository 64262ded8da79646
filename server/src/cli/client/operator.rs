//! `selkie client add --operator`: a token for the commands that ask a running server.

use selkie_access::MountPath;
use selkie_config::ClientName;
use zeroize::Zeroizing;

use crate::seal_client::NewToken;

/// Somebody who watches and saves what runs, and can neither encrypt nor decrypt.
pub(super) struct Operator {
    pub(super) name: ClientName,
    /// Whose keys `selkie export` prints.
    pub(super) mount: MountPath,
    pub(super) token: NewToken,
}

impl Operator {
    pub(super) fn sheet(&self, address: &str) -> Zeroizing<String> {
        let parts = [
            "# 1. For Selkie's configuration file, then reload it (SIGHUP). Nothing here is secret.\n\n",
            &self.declaration(),
            "\n",
            &self.policy(),
            "\n# 2. For the operator, in a file of mode 0600: --token-file.\n",
            "#    THE TOKEN IS A SECRET AND IS SHOWN THIS ONCE: Selkie knows its SHA-256 alone.\n",
            &format!("#    The server is --address {address}\n\n"),
            self.token.expose_for_print(),
            "\n",
        ];
        Zeroizing::new(parts.concat())
    }

    fn declaration(&self) -> String {
        let Self { name, token, .. } = self;
        format!(
            "client \"{name}\" {{\n  token_sha256 = \"{}\"\n  policies     = [\"{}\"]\n}}\n",
            token.hash(),
            self.policy_name(),
        )
    }

    /// What each command needs, and no more.
    fn policy(&self) -> String {
        let mount = &self.mount;
        let rules = [
            ("sys/seal-backend-status".to_owned(), "\"read\"", "selkie status"),
            ("sys/takeover".to_owned(), "\"read\"", "selkie takeover status"),
            ("sys/tokens/in-use".to_owned(), "\"read\"", "the tokens that seals use"),
            ("sys/drill/".to_owned(), "\"list\"", "selkie drill"),
            ("sys/drill/*".to_owned(), "\"update\", \"sudo\"", ""),
            ("sys/storage/selkie/snapshot".to_owned(), "\"read\", \"sudo\"", "selkie backup"),
            (format!("{mount}/keys"), "\"list\"", "selkie export"),
            (format!("{mount}/keys/*"), "\"read\"", ""),
        ];
        let mut text = format!("policy \"{}\" {{\n", self.policy_name());
        for (path, capabilities, command) in rules {
            let rule = format!("  path \"{path}\" {{ capabilities = [{capabilities}] }}");
            let line = match command {
                "" => rule,
                command => format!("{rule:<74} # {command}"),
            };
            text += &(line + "\n");
        }
        text + "}\n"
    }

    /// A policy's name is in lower case and never one of the built-in ones.
    fn policy_name(&self) -> String {
        format!("{}-operator", self.name.as_str().to_ascii_lowercase())
    }
}
