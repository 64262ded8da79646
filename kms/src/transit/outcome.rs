//! The table of outcomes: name, meaning, remedy.

use std::fmt;

use super::{TransitHop, TransitOutcome};

impl TransitOutcome {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 25] = [
        Self::Throttled,
        Self::Sealed,
        Self::Standby,
        Self::Outage,
        Self::TimedOut,
        Self::NameNotResolved,
        Self::NotConnected,
        Self::ProxyRefused,
        Self::TlsFailed,
        Self::RedirectRefused,
        Self::TokenFileUnreadable,
        Self::TokenMissing,
        Self::TokenRefused,
        Self::TokenNotRenewable,
        Self::PolicyMissing,
        Self::Forbidden,
        Self::MountMissing,
        Self::KeyMissing,
        Self::VersionMissing,
        Self::VersionDisallowed,
        Self::KeyUnsuitable,
        Self::MasterKeyDenied,
        Self::MasterKeyUnusable,
        Self::RequestRejected,
        Self::AnswerWrong,
    ];

    /// Its name in tables, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Sealed => "sealed",
            Self::Standby => "standby",
            Self::Outage => "outage",
            Self::TimedOut => "timed_out",
            Self::NameNotResolved => "name_not_resolved",
            Self::NotConnected => "not_connected",
            Self::ProxyRefused => "proxy_refused",
            Self::TlsFailed => "tls_failed",
            Self::RedirectRefused => "redirect_refused",
            Self::TokenFileUnreadable => "token_file_unreadable",
            Self::TokenMissing => "token_missing",
            Self::TokenRefused => "token_refused",
            Self::TokenNotRenewable => "token_not_renewable",
            Self::PolicyMissing => "policy_missing",
            Self::Forbidden => "forbidden",
            Self::MountMissing => "mount_missing",
            Self::KeyMissing => "key_missing",
            Self::VersionMissing => "version_missing",
            Self::VersionDisallowed => "version_disallowed",
            Self::KeyUnsuitable => "key_unsuitable",
            Self::MasterKeyDenied => "master_key_denied",
            Self::MasterKeyUnusable => "master_key_unusable",
            Self::RequestRejected => "request_rejected",
            Self::AnswerWrong => "answer_wrong",
        }
    }

    /// What happened, in a few words for the log.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Throttled => "a quota of the upstream is reached",
            Self::Sealed => "the upstream is sealed",
            Self::Standby => "the upstream is a standby that does not answer this",
            Self::Outage => "the upstream does not work now",
            Self::TimedOut => "no answer in time",
            Self::NameNotResolved => "the name is not resolved",
            Self::NotConnected => "the connection is refused, reset or cut",
            Self::ProxyRefused => "the proxy does not let us through",
            Self::TlsFailed => "TLS does not come about",
            Self::RedirectRefused => "the upstream sends us on to where we do not follow",
            Self::TokenFileUnreadable => "the file with the token is unreadable or holds none",
            Self::TokenMissing => "the upstream wants a token",
            Self::TokenRefused => "our token is unknown, expired or revoked",
            Self::TokenNotRenewable => "our token cannot be renewed",
            Self::PolicyMissing => "no policy of our token allows it",
            Self::Forbidden => "forbidden, by something on the way that is no Vault",
            Self::MountMissing => "there is no transit engine at the mount path",
            Self::KeyMissing => "there is no such transit key",
            Self::VersionMissing => "the transit key has no such version",
            Self::VersionDisallowed => "the transit key's settings forbid the version",
            Self::KeyUnsuitable => "the transit key is of an unsuitable type",
            Self::MasterKeyDenied => "the upstream's own KMS denies it the master key",
            Self::MasterKeyUnusable => "the upstream cannot use its own master key",
            Self::RequestRejected => "the ciphertext does not open",
            Self::AnswerWrong => "the answer makes no sense",
        }
    }

    /// What mends it: a setting, a policy, or a command.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::TokenFileUnreadable
            | Self::TokenMissing
            | Self::TokenRefused
            | Self::TokenNotRenewable
            | Self::PolicyMissing
            | Self::Forbidden => self.remedy_of_token(),
            Self::MountMissing
            | Self::KeyMissing
            | Self::VersionMissing
            | Self::VersionDisallowed
            | Self::KeyUnsuitable
            | Self::MasterKeyDenied
            | Self::MasterKeyUnusable
            | Self::RequestRejected => self.remedy_of_key(),
            _ => self.remedy_on_the_way(),
        }
    }

    /// What mends it where it happened at `hop`: what a token may do with itself is a right of its own.
    #[must_use]
    pub const fn remedy_at(self, hop: TransitHop) -> &'static str {
        match (hop, self) {
            (TransitHop::Token, Self::PolicyMissing) => {
                "allow the token `update` on auth/token/renew-self and `read` on \
                 auth/token/lookup-self (the policy `default` does), or set disable_renewal = true \
                 if somebody else renews it"
            }
            _ => self.remedy(),
        }
    }

    const fn remedy_on_the_way(self) -> &'static str {
        match self {
            Self::Throttled => {
                "nothing, it passes; if it lasts, raise the upstream's rate limit quota for the \
                 transit mount"
            }
            Self::Sealed => "unseal the upstream (vault operator unseal), or mend its own seal",
            Self::Standby => {
                "point `address` at the active node or at a load balancer that knows it; a \
                 replication secondary never answers"
            }
            Self::Outage => "see the upstream's own log; what it says is not repeated here",
            Self::TimedOut => {
                "see whether a firewall or a route on the way drops packets to this host, and \
                 whether the upstream waits for its own master key"
            }
            Self::NameNotResolved => {
                "check `address` and that this machine's name server knows the host (of a proxy, \
                 check `proxy`)"
            }
            Self::NotConnected => {
                "see whether the upstream listens and a firewall on the way lets us connect; check \
                 `address` and `proxy`"
            }
            Self::ProxyRefused => {
                "check `proxy` and its user and password, and let the proxy tunnel to this host"
            }
            Self::TlsFailed => {
                "name the upstream's authority in `tls_ca_cert`; check that `address` (or \
                 `tls_server_name`) is a name in its certificate, this machine's clock, and \
                 `tls_client_cert` if the upstream asks for one; CaUsedAsEndEntity: the upstream \
                 shows a CA's own certificate, make it a leaf (CA:FALSE); NotTls: it speaks plain \
                 HTTP there"
            }
            Self::RedirectRefused => {
                "point `address` at the active node: a redirect is followed once, to https and the \
                 same path"
            }
            _ => {
                "see what answers under `address`: a proxy's page, or something that is no Vault, \
                 OpenBao or Selkie"
            }
        }
    }

    const fn remedy_of_token(self) -> &'static str {
        match self {
            Self::TokenFileUnreadable => {
                "check that the file in `token` is there, readable for Selkie, and holds one line; \
                 a Vault Agent writes it with a file sink"
            }
            Self::TokenMissing => "set `token` to a file:// or env:// reference",
            Self::TokenRefused => {
                "make a new token at the upstream (vault token create -orphan -period=768h \
                 -policy=POLICY) and write it to the file in `token`, which is read again"
            }
            Self::TokenNotRenewable => {
                "use a periodic token (vault token create -orphan -period=768h -policy=POLICY), or \
                 set disable_renewal = true if somebody else renews it; the token of a login is \
                 renewed only while what it logged in with (LDAP, a role) is there"
            }
            Self::PolicyMissing => {
                "allow the token `update` on MOUNT/encrypt/KEY and MOUNT/decrypt/KEY, and better \
                 also `read` on MOUNT/keys/KEY"
            }
            _ => "see what stands before the upstream: a firewall or a proxy refuses us",
        }
    }

    const fn remedy_of_key(self) -> &'static str {
        match self {
            Self::MountMissing => {
                "check `mount_path` and `namespace` (vault secrets list at the upstream)"
            }
            Self::KeyMissing => {
                "check `key_name` and `mount_path`, and make the key first (vault write -f \
                 MOUNT/keys/KEY): a seal's token must not"
            }
            Self::VersionMissing => {
                "do not trim the key; if the upstream was restored from an older backup, restore \
                 the key from a newer one"
            }
            Self::VersionDisallowed => {
                "lower min_decryption_version (vault write MOUNT/keys/KEY/config \
                 min_decryption_version=1): old recipients still need the version"
            }
            Self::KeyUnsuitable => {
                "use a key that encrypts and is not derived (vault write -f MOUNT/keys/KEY \
                 type=aes256-gcm96)"
            }
            Self::MasterKeyDenied => {
                "grant the upstream Selkie the use of its master key; its log says what is missing"
            }
            Self::MasterKeyUnusable => {
                "enable, recover or declare the upstream Selkie's master key; its log says which"
            }
            _ => {
                "nothing, if a client sent a ciphertext that was never ours; else the transit key \
                 was replaced by another of the same name"
            }
        }
    }
}

impl fmt::Display for TransitOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::transit::TransitDiagnosis;

    #[test]
    fn table_lists_every_outcome_once() {
        assert!(TransitOutcome::ALL.is_sorted_by(|one, next| one < next));
        assert_eq!(TransitOutcome::ALL.len(), TransitOutcome::AnswerWrong as usize + 1);
    }

    #[test]
    fn every_outcome_has_a_name_a_meaning_and_a_remedy_of_its_own() {
        for text in [TransitOutcome::name, TransitOutcome::meaning, TransitOutcome::remedy] {
            let texts: BTreeSet<&str> = TransitOutcome::ALL.into_iter().map(text).collect();
            assert_eq!(texts.len(), TransitOutcome::ALL.len());
            assert!(texts.iter().all(|text| !text.contains("  ") && !text.contains('\n')));
        }
    }

    #[test]
    fn a_right_that_is_missing_is_named_by_what_was_to_be_done() {
        let remedy = |hop| {
            TransitDiagnosis::unanswered(hop, TransitOutcome::PolicyMissing, "vault.test").remedy()
        };
        let of_token = remedy(TransitHop::Token);
        assert!(of_token.contains("`update` on auth/token/renew-self"), "{of_token}");
        assert!(!of_token.contains("encrypt"), "{of_token}");
        for hop in [TransitHop::Encrypt, TransitHop::Decrypt, TransitHop::ReadKey] {
            assert!(remedy(hop).contains("MOUNT/encrypt/KEY"), "{hop}");
        }
    }
}
