//! `seal "transit"`: a transit key of another server as the master key, with the fields and the
//! environment variables of Vault's own stanza.

mod token;

use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use selkie_hcl::{Place, Section};
use url::{Host, Url};

pub use self::token::UpstreamToken;
use super::azure::certificate::authorities;
use super::proxy::{self, ProxyUrl};
use super::setting::{self, Name, ServerUrlError, Setting, ambient, field_only, named, server_url};
use crate::listener::{Endpoint, Listener};
use crate::quantity::duration;
use crate::secret::Reading;
use crate::warning::WarningKind;

/// A transit key of another server, and how it is reached.
#[derive(Debug)]
pub struct TransitSeal {
    /// `address`: scheme, host and port alone; `http` to this machine alone.
    pub address: Url,
    /// `mount_path`, without slashes around it.
    pub mount_path: String,
    /// `key_name`.
    pub key_name: String,
    /// `namespace`, which is sent as a header.
    pub namespace: Option<String>,
    /// `token`: who we are there.
    pub token: UpstreamToken,
    /// `disable_renewal`: somebody else keeps the token alive.
    pub disable_renewal: bool,
    /// `tls_ca_cert`: the only authorities that TLS trusts; `None` for the system's.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// `tls_client_cert` and `tls_client_key`: files in PEM, which are read again when they change.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// `tls_server_name`: expected in the server's certificate in place of the host.
    pub server_name: Option<String>,
    /// The HTTP proxy on the way: `proxy`, else `HTTPS_PROXY` unless `NO_PROXY` exempts the host.
    pub proxy: Option<ProxyUrl>,
    /// `key_id_prefix`: what stands before `/vN` in the ids of the key's versions, by default
    /// `transit/{mount_path}/{key_name}`.
    pub key_id_prefix: String,
    /// `poll_interval`: how often the newest version of the key is asked for.
    pub poll_interval: Duration,
}

const ADDRESS: Name = named("address", &["VAULT_ADDR"]);
const MOUNT_PATH: Name = named("mount_path", &["VAULT_TRANSIT_SEAL_MOUNT_PATH"]);
const KEY_NAME: Name = named("key_name", &["VAULT_TRANSIT_SEAL_KEY_NAME"]);
const NAMESPACE: Name = named("namespace", &["VAULT_NAMESPACE"]);
const TOKEN: Name = named("token", &["VAULT_TOKEN"]);
const DISABLE_RENEWAL: Name = named("disable_renewal", &["VAULT_TRANSIT_SEAL_DISABLE_RENEWAL"]);
const CA_CERT: Name = named("tls_ca_cert", &["VAULT_CACERT"]);
const CLIENT_CERT: Name = named("tls_client_cert", &["VAULT_CLIENT_CERT"]);
const CLIENT_KEY: Name = named("tls_client_key", &["VAULT_CLIENT_KEY"]);
const SERVER_NAME: Name = named("tls_server_name", &["VAULT_TLS_SERVER_NAME"]);
const SKIP_VERIFY: Name = named("tls_skip_verify", &["VAULT_SKIP_VERIFY"]);

/// Those whose variables say something about one seal.
pub(super) const OF_ONE_SEAL: [Name; 9] = [
    ADDRESS,
    MOUNT_PATH,
    KEY_NAME,
    NAMESPACE,
    TOKEN,
    DISABLE_RENEWAL,
    CLIENT_CERT,
    CLIENT_KEY,
    SERVER_NAME,
];

const EXAMPLE: &str = "https://vault.example.com:8200";
/// Vault asks for the newest version at each wrap; this is how late a rotation may be seen.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(86_400);
const LONGEST_NAME: usize = 200;
const LONGEST_PREFIX: usize = 480;

/// What is wrong with the stanza.
#[derive(Debug, thiserror::Error)]
enum TransitError {
    #[error(transparent)]
    Url(#[from] ServerUrlError),
    #[error("must begin with \"https://\": DEKs and the token never leave this machine in clear")]
    NotHttps,
    #[error("is a listener of this very server: a seal cannot lead to itself")]
    Ourselves,
    /// The variable is that of the clients' command line too.
    #[error(
        "is a listener of this very server: a seal cannot lead to itself. It stands above the file: \
         unset it in this shell, and in the service's environment"
    )]
    OurselvesByVariable,
    #[error(
        "a mount path has segments of A-Z a-z 0-9 _ - . that begin and end with a letter, a digit or _"
    )]
    MountPath,
    #[error("a key's name has A-Z a-z 0-9 _ - . and begins and ends with a letter, a digit or _")]
    KeyName,
    #[error("a namespace has visible ASCII characters alone")]
    Namespace,
    #[error("there are \"true\" and \"false\"")]
    NotABoolean,
    #[error("must not be empty")]
    Empty,
    #[error("a key id prefix has 1 to 480 visible ASCII characters without quote and backslash")]
    KeyIdPrefix,
    #[error(
        "whoever stands between us and the upstream would get every DEK: name the authority of its \
         certificate in \"tls_ca_cert\" instead"
    )]
    SkipVerify,
}

/// A setting that has to be there is not.
#[derive(Debug, thiserror::Error)]
#[error("missing field {0}")]
struct Missing(Name);

/// The two fields of a client certificate belong together.
#[derive(Debug, thiserror::Error)]
#[error("missing field {0}: a client certificate needs its key, and a key its certificate")]
struct HalfACertificate(Name);

/// The seal; `None` if something was reported to be wrong.
pub(crate) fn decode(
    section: &mut Section<'_>,
    listeners: &[Listener],
    reading: &Reading<'_>,
) -> Option<TransitSeal> {
    let address = required(section, ADDRESS, reading).and_then(|setting| {
        let is_from_field = setting.is_from_field();
        setting.try_map(|text| match address(&text, listeners) {
            Err(TransitError::Ourselves) if !is_from_field => {
                Err(TransitError::OurselvesByVariable)
            }
            other => other,
        })
    });
    let mount_path = required(section, MOUNT_PATH, reading)
        .and_then(|setting| setting.try_map(|text| mount_path(&text)));
    let key_name =
        required(section, KEY_NAME, reading).and_then(|setting| setting.try_map(key_name));
    let namespace = optional(section, NAMESPACE, reading, namespace);
    let token = token::decode(section, TOKEN, reading);
    let disable_renewal = flag(section, DISABLE_RENEWAL, reading);
    let ca_certificates = match Setting::read(section, CA_CERT, reading) {
        None => Some(None),
        Some(file) => authorities(file, reading).map(Some),
    };
    let client_certificate = client_certificate(section, reading);
    let server_name = optional(section, SERVER_NAME, reading, non_empty);
    let verifies = refuse_skip_verify(section, reading);
    let proxies = proxy::decode(section, reading);
    let prefix = optional(section, field_only("key_id_prefix"), reading, key_id_prefix);
    let poll_interval = duration(section, "poll_interval", LONGEST_POLL_INTERVAL);
    let (address, mount_path, key_name) = (address?.value, mount_path?.value, key_name?.value);
    let () = verifies?;
    Some(TransitSeal {
        proxy: proxies?.to(&address).filter(|_| address.scheme() == "https"),
        key_id_prefix: prefix?.unwrap_or_else(|| format!("transit/{mount_path}/{key_name}")),
        address,
        mount_path,
        key_name,
        namespace: namespace?,
        token: token?,
        disable_renewal: disable_renewal?,
        ca_certificates: ca_certificates?,
        client_certificate: client_certificate?,
        server_name: server_name?,
        poll_interval: poll_interval.unwrap_or(POLL_INTERVAL),
    })
}

fn required<'d>(
    section: &mut Section<'d>,
    name: Name,
    reading: &Reading<'_>,
) -> Option<Setting<'d>> {
    let has_field = section.field(name.field).place().is_some();
    let setting = Setting::read(section, name, reading);
    if setting.is_none() && !has_field {
        section.place().report(Missing(name));
    }
    setting
}

/// The outer `None` if it was reported to be wrong.
#[expect(clippy::option_option, reason = "wrong, absent, present")]
fn optional(
    section: &mut Section<'_>,
    name: Name,
    reading: &Reading<'_>,
    check: fn(String) -> Result<String, TransitError>,
) -> Option<Option<String>> {
    match Setting::read(section, name, reading) {
        None => Some(None),
        Some(setting) => setting.try_map(check).map(|setting| Some(setting.value)),
    }
}

fn address(text: &str, listeners: &[Listener]) -> Result<Url, TransitError> {
    let url = server_url(text, EXAMPLE)?;
    let url = setting::bare(url)?;
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        _ => return Err(TransitError::NotHttps),
    }
    if listeners.iter().any(|listener| is_at(&url, listener)) {
        return Err(TransitError::Ourselves);
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether `url` leads to `listener`, as far as its text tells. Names and load balancers can hide
/// it; then each turn of the loop has less time than the one before, and so it ends.
fn is_at(url: &Url, listener: &Listener) -> bool {
    let Endpoint::Address(listens) = listener.endpoint else { return false };
    let host = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) | None => None,
    };
    let is_here = is_this_machine(url)
        && (listens.ip().is_loopback() || listens.ip().is_unspecified())
        || host == Some(listens.ip());
    is_here && listens.port() != 0 && url.port_or_known_default() == Some(listens.port())
}

fn mount_path(text: &str) -> Result<String, TransitError> {
    let path = text.trim_matches('/');
    let fits = path.len() <= LONGEST_NAME && path.split('/').all(is_segment);
    if fits { Ok(path.to_owned()) } else { Err(TransitError::MountPath) }
}

fn key_name(text: String) -> Result<String, TransitError> {
    let fits = text.len() <= LONGEST_NAME && is_segment(&text);
    if fits { Ok(text) } else { Err(TransitError::KeyName) }
}

/// As Vault names keys and mounts; nothing in it means something in a URL.
fn is_segment(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || b"-.".contains(byte))
}

fn namespace(text: String) -> Result<String, TransitError> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text) } else { Err(TransitError::Namespace) }
}

fn non_empty(text: String) -> Result<String, TransitError> {
    if text.is_empty() { Err(TransitError::Empty) } else { Ok(text) }
}

fn key_id_prefix(text: String) -> Result<String, TransitError> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let fits = (1..=LONGEST_PREFIX).contains(&text.len()) && text.bytes().all(allowed);
    if fits { Ok(text) } else { Err(TransitError::KeyIdPrefix) }
}

/// `None` if it was reported to be wrong.
fn flag(section: &mut Section<'_>, name: Name, reading: &Reading<'_>) -> Option<bool> {
    let place = section.place();
    let field = section.field(name.field);
    let is_set = field.place().is_some();
    let field = field.boolean();
    let Some((variable, value)) = ambient(name, reading) else {
        return if is_set { field.map(|flag| flag.value) } else { Some(false) };
    };
    let origin = setting::Origin::Variable(variable);
    let setting = Setting { value, origin, place };
    // As Go reads a boolean, which is how Vault does.
    let flag = setting.try_map(|text| match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(TransitError::NotABoolean),
    });
    let flag = flag?.value;
    if let Some(field) = field.filter(|field| field.value != flag) {
        reading.warn(field.place, WarningKind::VariableWins { variable, field: name.field });
    }
    Some(flag)
}

fn refuse_skip_verify(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<()> {
    let place: Place<'_> = section.place();
    let skips = flag(section, SKIP_VERIFY, reading)?;
    if !skips {
        return Some(());
    }
    let origin = match ambient(SKIP_VERIFY, reading) {
        Some((variable, _)) => setting::Origin::Variable(variable),
        None => setting::Origin::Field(SKIP_VERIFY.field),
    };
    let setting = Setting { value: (), origin, place };
    setting.try_map(|()| Err::<(), _>(TransitError::SkipVerify)).map(|setting| setting.value)
}

/// The outer `None` if it was reported to be wrong.
#[expect(clippy::option_option, reason = "wrong, absent, present")]
fn client_certificate(
    section: &mut Section<'_>,
    reading: &Reading<'_>,
) -> Option<Option<(PathBuf, PathBuf)>> {
    let certificate = optional(section, CLIENT_CERT, reading, non_empty)?;
    let key = optional(section, CLIENT_KEY, reading, non_empty)?;
    match (certificate, key) {
        (None, None) => Some(None),
        (Some(certificate), Some(key)) => {
            let key = PathBuf::from(key);
            reading.check_exposure(section.place(), &key);
            Some(Some((certificate.into(), key)))
        }
        (certificate, _) => {
            let missing = if certificate.is_some() { CLIENT_KEY } else { CLIENT_CERT };
            section.place().report(HalfACertificate(missing));
            None
        }
    }
}
