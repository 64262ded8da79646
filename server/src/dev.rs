//! Dev mode: a configuration made up on the spot, under a master key that everyone knows, and what
//! a newcomer is told about it.

mod certificate;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use selkie_access::{KeyName, MountPath, NameError, TokenHash};
use selkie_config::{
    ClientCertificates, ClientName, Config, Exposure, InvalidClientName, Problems, SourceError,
    Sources, Tls, TlsVersion, WarningKind,
};
use selkie_crypto::{RandomError, sha256};
use zeroize::Zeroizing;

pub use self::certificate::{CertificateDir, CertificateError};
use crate::seal_client::{NewToken, SealClient};

/// The master key of every dev server, published here, so that a restarted one still opens what
/// was encrypted before: a Vault that was sealed by way of trying must not lose its root key.
const PUBLISHED_KEY: [u8; 32] = *b"selkie dev mode: everyone has it";

/// What the dev configuration calls the variable with [`PUBLISHED_KEY`].
const KEY_VARIABLE: &str = "PUBLISHED_KEY";

/// What may be chosen about dev mode.
#[derive(Debug)]
pub struct DevSettings {
    /// Where it listens.
    pub listen_address: SocketAddr,
    /// The root token; a random one if there is none.
    pub root_token: Option<Zeroizing<String>>,
    /// Whether it speaks TLS, under a new authority of its own.
    pub tls: bool,
}

/// A dev server to be: its tokens, and its certificates, whose files are removed when this is
/// dropped.
#[derive(Debug)]
pub struct Dev {
    listen_address: SocketAddr,
    root_token: NewToken,
    has_lasting_tokens: bool,
    seal_client: SealClient,
    certificates: Option<CertificateDir>,
}

/// Why there is no dev server.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// There is no randomness for tokens.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The certificates could not be made.
    #[error("the certificates for --dev-tls")]
    Certificates(#[from] CertificateError),
    /// The names of dev mode are none: a bug.
    #[error("dev mode has a name that is none")]
    Name(#[from] NameError),
    /// The client of dev mode has a name that is none: a bug.
    #[error("dev mode has a name that is none")]
    ClientName(#[from] InvalidClientName),
}

impl Dev {
    /// Makes the tokens and, if asked for, the certificates.
    ///
    /// # Errors
    ///
    /// [`DevError`].
    pub fn new(settings: DevSettings) -> Result<Self, DevError> {
        let DevSettings { listen_address, root_token, tls } = settings;
        let has_lasting_tokens = root_token.is_some();
        let (root_token, seal_token) = match root_token {
            Some(chosen) => {
                let seal_token = derived_token(&chosen);
                (NewToken::chosen(chosen), seal_token)
            }
            None => (NewToken::random()?, NewToken::random()?),
        };
        let certificates = tls.then(|| CertificateDir::new(listen_address.ip(), "Selkie dev mode"));
        Ok(Self {
            listen_address,
            root_token,
            has_lasting_tokens,
            seal_client: SealClient {
                name: ClientName::new("autounseal")?,
                key: "autounseal".parse::<KeyName>()?,
                mount: "transit".parse::<MountPath>()?,
                period: "24h".to_owned(),
                token: seal_token,
            },
            certificates: certificates.transpose()?,
        })
    }

    /// The configuration. It goes through the same checks as a file's.
    ///
    /// # Errors
    ///
    /// [`Problems`], which are a bug.
    pub fn config(&self) -> Result<Config, Problems> {
        let mut config = Config::parse("(dev mode)", &self.text(), &DevSources)?;
        let tls = self.certificates.as_ref().map(|certificates| Tls {
            cert_file: certificates.certificate(),
            key_file: certificates.key(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            client_certificates: ClientCertificates::NotRequested,
        });
        // The others are about what the banner says anyway.
        let is_plain = tls.is_none();
        config.warnings.retain(|warning| is_plain && warning.kind == WarningKind::PlainHttp);
        for listener in &mut config.listeners {
            listener.tls.clone_from(&tls);
        }
        Ok(config)
    }

    fn text(&self) -> String {
        let seal_client = &self.seal_client;
        format!(
            r#"
            realm = "dev"
            listener "tcp" {{
              address     = "{}"
              tls_disable = true
            }}
            seal "static" {{
              name           = "dev"
              current_key_id = "dev-1"
              current_key    = "env://{KEY_VARIABLE}"
            }}
            storage "inmem" {{}}
            mount "{}" {{}}
            key "{}" {{}}
            client "root" {{
              token_sha256 = "{}"
              policies     = ["root"]
            }}
            {}
            {}
            "#,
            self.listen_address,
            seal_client.mount,
            seal_client.key,
            self.root_token.hash(),
            seal_client.declaration(),
            seal_client.policy(),
        )
    }

    /// What is left of dev mode once its banner is printed: the certificates, whose files are
    /// removed when this is dropped. The tokens are gone.
    #[must_use]
    pub fn into_certificates(self) -> Option<CertificateDir> {
        self.certificates
    }

    /// What is printed once the server listens at `address`: the warning, how to reach it, and the
    /// stanza for a Vault. It holds both tokens.
    #[must_use]
    pub fn banner(&self, address: SocketAddr) -> Zeroizing<String> {
        let certificates = self.certificates.as_ref();
        let ca_file = certificates.map(|certificates| certificates.authority_text());
        let scheme = if ca_file.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(address));
        let token = self.root_token.expose_for_print();
        let mut text = Zeroizing::new(String::with_capacity(4096));
        text.push_str(WARNING);
        if cfg!(feature = "unhygienic") {
            text.push_str(UNHYGIENIC_WARNING);
        }
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nAddress:     {url}\nRoot token:  {token}\n\nFor a shell:\n\n    \
             export VAULT_ADDR={}\n    export VAULT_TOKEN={}\n",
            *quoted_for_shell(&url),
            *quoted_for_shell(token),
        );
        if let Some(file) = &ca_file {
            let _ = writeln!(text, "    export VAULT_CACERT={}", *quoted_for_shell(file));
        }
        text.push_str(
            "\nFor the configuration file of a Vault or OpenBao that unseals itself:\n\n",
        );
        text.push_str(&self.seal_client.seal_stanza(&url, ca_file.as_deref()));
        text.push_str(match self.has_lasting_tokens {
            true => "\nThe tokens stay the same with the same --dev-root-token-id.\n\n",
            false => LOST_TOKENS,
        });
        text
    }
}

const WARNING: &str = "\
+------------------------------------------------------------------------------+
|  SELKIE IN DEV MODE: FOR TRYING OUT ONLY, NEVER FOR PRODUCTION.              |
|                                                                              |
|  Its master key is published in Selkie's source code: anyone can open what   |
|  it encrypts. Keys that are made through the API are lost when it stops.     |
+------------------------------------------------------------------------------+
";

const UNHYGIENIC_WARNING: &str = "\
+------------------------------------------------------------------------------+
|  THIS BUILD DOES NOT WIPE ITS MEMORY (feature \"unhygienic\").                 |
|  It exists to prove that the memory scan finds secrets, and for nothing else.|
+------------------------------------------------------------------------------+
";

const LOST_TOKENS: &str = "
The tokens are new at each start. With --dev-root-token-id=TOKEN they stay the same, so that a
Vault with this stanza still unseals itself after a restart of Selkie.

";

/// The seal token that belongs to a chosen root token: the same at each start.
fn derived_token(root_token: &str) -> NewToken {
    let material = Zeroizing::new(["selkie dev seal token ", root_token].concat());
    let hash = TokenHash::new(sha256(material.as_bytes())).to_string();
    let digits: String = hash.chars().take(32).collect();
    NewToken::chosen(Zeroizing::new(["s.dev-", &digits].concat()))
}

/// Where a client on this machine reaches a listener that may be on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn quoted_for_shell(text: &str) -> Zeroizing<String> {
    Zeroizing::new(["'", &text.replace('\'', r"'\''"), "'"].concat())
}

/// Gives the dev configuration its published key, and nothing else to anybody.
struct DevSources;

impl Sources for DevSources {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        (name == KEY_VARIABLE).then(|| Zeroizing::new(PUBLISHED_KEY.to_vec()))
    }

    fn secret_file(&self, _path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        Err(SourceError::Missing)
    }

    fn text_file(&self, _path: &Path) -> Result<String, SourceError> {
        Err(SourceError::Missing)
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}

#[cfg(test)]
mod tests;
