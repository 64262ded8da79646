//! `storage "etcd"`: Vault's fields, and the variables that win over them there as well.

use std::path::PathBuf;
use std::time::Duration;

use selkie_hcl::{Located, Place, Section};
use url::Url;
use zeroize::Zeroizing;

use super::{EtcdCertificate, EtcdCredentials, EtcdStorage};
use crate::quantity::duration;
use crate::secret::{self, Reading};
use crate::warning::WarningKind;

const DEFAULT_ADDRESS: &str = "http://127.0.0.1:2379";
const DEFAULT_PREFIX: &str = "selkie/";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

const ADDRESS_VARIABLE: &str = "ETCD_ADDR";
const USERNAME_VARIABLE: &str = "ETCD_USERNAME";
const PASSWORD_VARIABLE: &str = "ETCD_PASSWORD";

/// Fields of Vault's stanza that may stay, as nothing that they say is lost.
const WITHOUT_EFFECT: [(&str, &str); 5] = [
    ("ha_enabled", "every replica on the same etcd serves"),
    ("lock_timeout", "no lock is held in etcd"),
    ("max_receive_size", "no answer of etcd comes near a limit"),
    ("sync", "the members are those of \"address\""),
    ("disable_clustering", "replicas do not talk to each other"),
];

/// What is wrong with the stanza.
#[derive(Debug, thiserror::Error)]
enum EtcdError {
    #[error("{said_in}: expected URLs such as \"https://etcd-1:2379\", separated by commas")]
    NotAUrl { said_in: SaidIn },
    #[error("{said_in}: {found:?} names no port, which is 2379 for most")]
    NoPort { said_in: SaidIn, found: String },
    #[error("{said_in}: all members must be https:// or all http://")]
    MixedSchemes { said_in: SaidIn },
    #[error("{field:?} belongs to TLS, and the address begins with http://")]
    TlsForPlain { field: &'static str },
    #[error("missing field {missing:?}: \"tls_cert_file\" and \"tls_key_file\" belong together")]
    HalfACertificate { missing: &'static str },
    #[error("missing field {missing:?}: \"username\" and \"password\" belong together")]
    HalfCredentials { missing: &'static str },
    #[error("environment variable {PASSWORD_VARIABLE}: must be text, of one line and not empty")]
    UnfitPassword,
    #[error("field {field:?}: must be an absolute path")]
    RelativePath { field: &'static str },
    #[error("field {field:?}: must not be empty")]
    Empty { field: &'static str },
    #[error("field \"etcd_api\": there is \"v3\" alone")]
    OldApi,
    #[error("field {field:?}: members are not discovered through DNS: list them in \"address\"")]
    Discovery { field: &'static str },
}

/// Where the address was said.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum SaidIn {
    #[error("field \"address\"")]
    Field,
    #[error("environment variable {ADDRESS_VARIABLE}")]
    Variable,
}

pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<EtcdStorage> {
    let endpoints = endpoints(section, reading);
    let is_plain = endpoints.as_ref().is_some_and(|all| all.iter().any(|one| is_plain(one)));
    let prefix = non_empty(section, "path");
    let ca_file = path(section, "tls_ca_file", is_plain);
    let client_certificate = client_certificate(section, is_plain, reading);
    let credentials = credentials(section, reading);
    if credentials.is_some() && is_plain {
        reading.warn(section.place(), WarningKind::PasswordInClear);
    }
    let request_timeout = duration(section, "request_timeout", LONGEST_TIMEOUT);
    let create = super::create(section);
    judge_what_is_not_here(section, reading);
    Some(EtcdStorage {
        endpoints: endpoints?,
        prefix: prefix.map_or_else(
            || DEFAULT_PREFIX.to_owned(),
            |prefix| format!("{}/", prefix.value.trim_end_matches('/')),
        ),
        ca_file,
        client_certificate,
        credentials,
        request_timeout: request_timeout.unwrap_or(DEFAULT_TIMEOUT),
        create,
    })
}

fn is_plain(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
}

/// The value of a field or of the variable that wins over it, and where to complain.
fn text_or_variable<'d>(
    section: &mut Section<'d>,
    field: &'static str,
    variable: &'static str,
    reading: &Reading<'_>,
) -> Option<(Located<'d, String>, bool)> {
    let given = section.field(field).string();
    let Some(value) = reading.ambient_text(variable) else {
        return given.map(|given| (given, false));
    };
    if let Some(given) = given.filter(|given| given.value != value) {
        reading.warn(given.place, WarningKind::VariableWins { variable, field });
    }
    Some((Located { value, place: section.place() }, true))
}

fn endpoints(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Vec<String>> {
    let Some((given, is_variable)) =
        text_or_variable(section, "address", ADDRESS_VARIABLE, reading)
    else {
        let is_unreadable = section.field("address").place().is_some();
        return (!is_unreadable).then(|| vec![DEFAULT_ADDRESS.to_owned()]);
    };
    let said_in = if is_variable { SaidIn::Variable } else { SaidIn::Field };
    let listed = given.try_map(|text| {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        let all = texts.map(|text| endpoint(text, said_in)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = all.first() else { return Err(EtcdError::NotAUrl { said_in }) };
        let is_mixed = all.iter().any(|one| is_plain(one) != is_plain(first));
        if is_mixed { Err(EtcdError::MixedSchemes { said_in }) } else { Ok(all) }
    });
    listed.map(|listed| listed.value)
}

/// `text` without a final slash, if it is a scheme, a host and a port and nothing else.
fn endpoint(text: &str, said_in: SaidIn) -> Result<String, EtcdError> {
    let refused = || EtcdError::NotAUrl { said_in };
    let url: Url = text.parse().map_err(|_unfit: url::ParseError| refused())?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_bare {
        return Err(refused());
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    // Not `url.port()`, which forgets a port that is the scheme's own.
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err(EtcdError::NoPort { said_in, found: text.to_owned() }),
    }
}

fn non_empty<'d>(section: &mut Section<'d>, field: &'static str) -> Option<Located<'d, String>> {
    section.field(field).string()?.try_map(|text| {
        let is_empty = text.trim_matches('/').is_empty();
        if is_empty { Err(EtcdError::Empty { field }) } else { Ok(text) }
    })
}

fn path(section: &mut Section<'_>, field: &'static str, is_plain: bool) -> Option<PathBuf> {
    let given = section.field(field).string()?;
    if is_plain {
        given.place.report(EtcdError::TlsForPlain { field });
    }
    let path = given.try_map(|text| {
        let path = PathBuf::from(text);
        if path.is_absolute() { Ok(path) } else { Err(EtcdError::RelativePath { field }) }
    });
    path.map(|path| path.value)
}

fn client_certificate(
    section: &mut Section<'_>,
    is_plain: bool,
    reading: &Reading<'_>,
) -> Option<EtcdCertificate> {
    const FIELDS: [&str; 2] = ["tls_cert_file", "tls_key_file"];
    let [cert, key] = FIELDS.map(|field| section.field(field).place());
    let missing = match (cert, key) {
        (Some(_), None) => Some("tls_key_file"),
        (None, Some(_)) => Some("tls_cert_file"),
        _ => None,
    };
    if let Some(missing) = missing {
        section.place().report(EtcdError::HalfACertificate { missing });
    }
    let [cert_file, key_file] = FIELDS.map(|field| path(section, field, is_plain));
    if let (Some(place), Some(file)) = (key, &key_file) {
        reading.check_exposure(place, file);
    }
    Some(EtcdCertificate { cert_file: cert_file?, key_file: key_file? })
}

fn credentials(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<EtcdCredentials> {
    let username = text_or_variable(section, "username", USERNAME_VARIABLE, reading);
    let (is_given, password) = password(section, reading);
    let missing = match (&username, is_given) {
        (Some(_), false) => Some("password"),
        (None, true) => Some("username"),
        _ => None,
    };
    if let Some(missing) = missing {
        section.place().report(EtcdError::HalfCredentials { missing });
    }
    let username = username?.0.try_map(|name| {
        if name.is_empty() { Err(EtcdError::Empty { field: "username" }) } else { Ok(name) }
    });
    Some(EtcdCredentials { username: username?.value, password: password? })
}

/// Whether there is a password, and it, if it is sound.
fn password(section: &mut Section<'_>, reading: &Reading<'_>) -> (bool, Option<Zeroizing<String>>) {
    const FIELD: &str = "password";
    let field = section.field(FIELD);
    let given = field.place();
    let Some(value) = reading.ambient(PASSWORD_VARIABLE) else {
        let reference = field.string();
        return (given.is_some(), reference.and_then(|one| reading.secret_line(FIELD, &one)));
    };
    if let Some(reference) = field.string() {
        warn_or_refuse(&reference, reading);
    }
    let password = secret::line(&value);
    if password.is_none() {
        section.place().report(EtcdError::UnfitPassword);
    }
    (true, password)
}

/// A literal is a mistake even where it does not count.
fn warn_or_refuse(reference: &Located<'_, String>, reading: &Reading<'_>) {
    if reference.value.starts_with("env://") || reference.value.starts_with("file://") {
        let kind = WarningKind::VariableWins { variable: PASSWORD_VARIABLE, field: "password" };
        reading.warn(reference.place, kind);
    } else {
        reading.refuse_literal("password", reference);
    }
}

fn judge_what_is_not_here(section: &mut Section<'_>, reading: &Reading<'_>) {
    for (field, reason) in WITHOUT_EFFECT {
        let place: Option<Place<'_>> = section.field(field).place();
        if let Some(place) = place {
            reading.warn(place, WarningKind::WithoutEffect { field, reason });
        }
    }
    if let Some(version) = section.field("etcd_api").string() {
        let is_ours = matches!(version.value.as_str(), "3" | "v3");
        version.try_map(|_| if is_ours { Ok(()) } else { Err(EtcdError::OldApi) });
    }
    for field in ["discovery_srv", "discovery_srv_name"] {
        section.refuse(field, || EtcdError::Discovery { field });
    }
}
