//! What a Vault needs to use Selkie as its seal: a token, its declaration, its policy, and the
//! stanza for the Vault's own configuration.

use std::fmt::{self, Write};

use selkie_access::{KeyName, MountPath, TokenHash};
use selkie_config::ClientName;
use selkie_crypto::{RandomError, base64, os_random, sha256};
use zeroize::Zeroizing;

/// A new token: `hvs.` and 43 characters of base64url, which are 32 random bytes. Secret scanners
/// know the prefix, as it is Vault's own. It is wiped when dropped and known to the server by its
/// SHA-256 alone.
pub struct NewToken(Zeroizing<String>);

impl NewToken {
    /// A token that nobody has seen.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn random() -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        os_random(&mut *bytes)?;
        let mut digits = Zeroizing::new(Vec::with_capacity(64));
        base64::encode_into(&*bytes, &mut *digits);
        let mut text = Zeroizing::new(String::with_capacity(64));
        text.push_str("hvs.");
        text.extend(digits.iter().filter_map(|digit| match digit {
            b'+' => Some('-'),
            b'/' => Some('_'),
            b'=' => None,
            other => Some(char::from(*other)),
        }));
        Ok(Self(text))
    }

    /// A token that was chosen elsewhere.
    #[must_use]
    pub fn chosen(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// How the token is declared.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::new(sha256(self.0.as_bytes()))
    }

    /// The text, for the one time that it is shown to whoever will use it.
    #[must_use]
    pub fn expose_for_print(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

/// A Vault that uses Selkie as its seal.
#[derive(Debug)]
pub struct SealClient {
    /// Its name here.
    pub name: ClientName,
    /// The transit key it uses.
    pub key: KeyName,
    /// The mount of that key.
    pub mount: MountPath,
    /// What a renewal of its token is worth, as the configuration writes it.
    pub period: String,
    /// Its token.
    pub token: NewToken,
}

impl SealClient {
    /// The `client` stanza for Selkie's configuration; it holds no secret.
    #[must_use]
    pub fn declaration(&self) -> String {
        let Self { name, period, .. } = self;
        format!(
            "client \"{name}\" {{\n  token_sha256 = \"{}\"\n  policies     = [\"{}\"]\n  \
             period       = \"{period}\"\n}}\n",
            self.token.hash(),
            self.policy_name(),
        )
    }

    /// The `policy` stanza for Selkie's configuration: encrypt and decrypt with the one key.
    #[must_use]
    pub fn policy(&self) -> String {
        let Self { key, mount, .. } = self;
        let mut text = format!("policy \"{}\" {{\n", self.policy_name());
        for operation in ["encrypt", "decrypt"] {
            text += &format!(
                "  path \"{mount}/{operation}/{key}\" {{\n    capabilities = [\"update\"]\n  }}\n"
            );
        }
        text + "}\n"
    }

    /// The `seal` stanza for the Vault's configuration. It holds the token.
    #[must_use]
    pub fn seal_stanza(&self, address: &str, ca_file: Option<&str>) -> Zeroizing<String> {
        let mount = format!("{}/", self.mount);
        let fields = [
            ("address", Some(address)),
            ("token", Some(self.token.expose_for_print())),
            ("key_name", Some(self.key.as_str())),
            ("mount_path", Some(&mount)),
            ("disable_renewal", Some("false")),
            ("tls_ca_cert", ca_file),
        ];
        let mut text = Zeroizing::new(String::with_capacity(1024));
        text.push_str("seal \"transit\" {\n");
        for (field, value) in fields {
            let Some(value) = value else { continue };
            // Writing to a String cannot fail.
            let _ = write!(text, "  {field:<15} = \"");
            push_escaped(&mut text, value);
            text.push_str("\"\n");
        }
        text.push_str("}\n");
        text
    }

    /// A policy's name is in lower case and never one of the built-in ones.
    fn policy_name(&self) -> String {
        format!("{}-seal", self.name.as_str().to_ascii_lowercase())
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::*;

    assert_not_impl_any!(NewToken: Clone, Copy, fmt::Display, AsRef<str>);

    #[test]
    fn a_token_is_not_shown_by_debug() {
        let token = NewToken::random().unwrap();
        assert_eq!(format!("{token:?}"), "NewToken");
    }

    #[test]
    fn no_value_breaks_out_of_the_stanza() {
        let mut text = String::new();
        push_escaped(&mut text, r#"a"\b"#);
        assert_eq!(text, r#"a\"\\b"#);
    }
}
