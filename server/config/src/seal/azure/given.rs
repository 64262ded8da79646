//! All that the stanza and the environment say of identities, each checked by itself.

use selkie_hcl::{Place, Section};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::identity::Kind;
use super::names::{
    AUTH_METHOD, CERT_PATH, CLIENT_ID, CLIENT_SECRET, MANAGED_ID_KIND, RESOURCE_ID, TENANT_ID,
    TOKEN_FILE,
};
use super::setting::{Origin, Setting, field_only, http_url, is_reference};
use crate::secret::{self, Reading};
use crate::warning::WarningKind;

/// What may choose and make an identity.
pub(super) struct Given<'d> {
    pub(super) place: Place<'d>,
    pub(super) kind: Option<(Kind, Origin)>,
    pub(super) tenant_id: Option<Setting<'d>>,
    pub(super) client_id: Option<Setting<'d>>,
    pub(super) object_id: Option<Setting<'d>>,
    pub(super) resource_id: Option<Setting<'d>>,
    /// The field that names the user-assigned identity.
    pub(super) id_kind: Option<&'static str>,
    pub(super) client_secret: Option<GivenSecret>,
    pub(super) certificate_file: Option<Setting<'d>>,
    pub(super) token_file: Option<Setting<'d>>,
    /// `None` if it was reported to be wrong.
    pub(super) imds: Option<Url>,
    /// Something was reported already, so that nothing is concluded from its absence.
    pub(super) is_broken: bool,
}

/// A client secret was given; without a value it was reported to be wrong.
pub(super) struct GivenSecret {
    pub(super) origin: Origin,
    pub(super) value: Option<Zeroizing<String>>,
}

/// What is wrong with one setting.
#[derive(Debug, thiserror::Error)]
enum GivenError {
    #[error(
        "there are \"auto\", \"managed_identity\", \"app_service\", \"workload_identity\", \
         \"client_secret\" and \"client_certificate\""
    )]
    UnknownIdentity,
    #[error(
        "there are \"default\", \"environment\", \"managed_identity\", \"workload_identity\", \
         \"client_secret\" and \"certificate\""
    )]
    UnknownMethod,
    #[error("there are \"client_id\", \"object_id\" and \"resource_id\"")]
    UnknownIdKind,
    #[error("expected a tenant: a UUID, or a domain such as \"example.onmicrosoft.com\"")]
    NotATenant,
    #[error("expected a UUID such as \"03dc33fc-16d9-4b77-8152-3ec568f8af6e\"")]
    NotAUuid,
    #[error(
        "expected \"/subscriptions/ID/resourceGroups/NAME/providers/Microsoft.ManagedIdentity/\
         userAssignedIdentities/NAME\""
    )]
    NotAResourceId,
    #[error("expected the path of a file")]
    NoPath,
    #[error("no secret there: it must be text, of one line and not empty")]
    NotALine,
    #[error("fields {first:?} and {second:?} mean the same: remove one")]
    SameMeaning { first: &'static str, second: &'static str },
    #[error(
        "a certificate is read from \"client_certificate_file\", in PEM and without password: \
         openssl pkcs12 -in X.pfx -out X.pem -nodes"
    )]
    NoPassword,
}

const IMDS: &str = "http://169.254.169.254";

impl<'d> Given<'d> {
    pub(super) fn decode(section: &mut Section<'d>, reading: &Reading<'_>) -> Self {
        for field in ["cert_bytes", "cert_password"] {
            section.refuse(field, || GivenError::NoPassword);
        }
        let mut flaw = Flaw(false);
        let place = section.place();
        let kind = kind(section, reading, &mut flaw);
        let tenant = Setting::read_or_follow(section, TENANT_ID, reading);
        let client = Setting::read_or_follow(section, CLIENT_ID, reading);
        let object = Setting::of_field(section.field("object_id"));
        let resource = Setting::read(section, RESOURCE_ID, reading);
        Self {
            place,
            kind,
            tenant_id: flaw.checked(tenant, tenant_id),
            client_id: flaw.checked(client, uuid),
            object_id: flaw.checked(object, uuid),
            resource_id: flaw.checked(resource, resource_id),
            id_kind: id_kind(section, reading, &mut flaw),
            client_secret: client_secret(section, reading),
            certificate_file: flaw.checked(certificate_file(section, reading), path),
            token_file: flaw.checked(Setting::read(section, TOKEN_FILE, reading), path),
            imds: imds(section, reading),
            is_broken: flaw.0,
        }
    }
}

/// Whether a setting was refused.
struct Flaw(bool);

impl Flaw {
    fn checked<'d>(
        &mut self,
        setting: Option<Setting<'d>>,
        check: fn(String) -> Result<String, GivenError>,
    ) -> Option<Setting<'d>> {
        let checked = setting?.try_map(check);
        self.0 |= checked.is_none();
        checked
    }
}

/// The identity that is named; `None` chooses by what is there.
fn kind(
    section: &mut Section<'_>,
    reading: &Reading<'_>,
    flaw: &mut Flaw,
) -> Option<(Kind, Origin)> {
    let identity = Setting::of_field(section.field("identity"));
    let method = Setting::read(section, AUTH_METHOD, reading);
    if let (Some(_), Some(method)) = (&identity, &method)
        && method.is_from_field()
    {
        let (first, second) = ("identity", AUTH_METHOD.field);
        method.place.report(GivenError::SameMeaning { first, second });
        flaw.0 = true;
    }
    // Ours is the more precise one, so a variable of OpenBao's does not replace it.
    let named = match identity {
        Some(identity) => identity.try_map(|text| identity_named(&text)),
        None => method?.try_map(|text| method_named(&text)),
    };
    flaw.0 |= named.is_none();
    let setting = named?;
    setting.value.map(|kind| (kind, setting.origin))
}

fn identity_named(text: &str) -> Result<Option<Kind>, GivenError> {
    match text {
        "auto" => Ok(None),
        "managed_identity" => Ok(Some(Kind::ManagedIdentity)),
        "app_service" => Ok(Some(Kind::AppService)),
        "workload_identity" => Ok(Some(Kind::WorkloadIdentity)),
        "client_secret" => Ok(Some(Kind::ClientSecret)),
        "client_certificate" => Ok(Some(Kind::ClientCertificate)),
        _ => Err(GivenError::UnknownIdentity),
    }
}

fn method_named(text: &str) -> Result<Option<Kind>, GivenError> {
    match text.to_ascii_lowercase().as_str() {
        "default" | "environment" => Ok(None),
        "managed_identity" => Ok(Some(Kind::ManagedIdentity)),
        "workload_identity" => Ok(Some(Kind::WorkloadIdentity)),
        "client_secret" => Ok(Some(Kind::ClientSecret)),
        "certificate" => Ok(Some(Kind::ClientCertificate)),
        _ => Err(GivenError::UnknownMethod),
    }
}

fn id_kind(
    section: &mut Section<'_>,
    reading: &Reading<'_>,
    flaw: &mut Flaw,
) -> Option<&'static str> {
    let setting = Setting::read(section, MANAGED_ID_KIND, reading)?;
    let kind = setting.try_map(|text| match text.to_ascii_lowercase().as_str() {
        "client_id" => Ok("client_id"),
        "object_id" => Ok("object_id"),
        "resource_id" => Ok("resource_id"),
        _ => Err(GivenError::UnknownIdKind),
    });
    flaw.0 |= kind.is_none();
    kind.map(|kind| kind.value)
}

/// The variable wins, but a literal in the file is refused all the same.
fn client_secret(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<GivenSecret> {
    let field = section.field(CLIENT_SECRET.field);
    let place = section.place();
    let variable = CLIENT_SECRET.variables.first().copied();
    let found = variable.and_then(|name| Some((name, reading.ambient(name)?)));
    let reference = field.string();
    let Some((variable, bytes)) = found else {
        let value = reading.secret_line(CLIENT_SECRET.field, &reference?);
        return Some(GivenSecret { origin: Origin::Field(CLIENT_SECRET.field), value });
    };
    if let Some(reference) = reference {
        if is_reference(&reference.value) {
            let kind = WarningKind::VariableWins { variable, field: CLIENT_SECRET.field };
            reading.warn(reference.place, kind);
        } else {
            reading.refuse_literal(CLIENT_SECRET.field, &reference);
        }
    }
    let origin = Origin::Variable(variable);
    let setting = Setting { value: bytes, origin, place };
    let value = setting.try_map(|bytes| secret::line(&bytes).ok_or(GivenError::NotALine));
    Some(GivenSecret { origin, value: value.map(|value| value.value) })
}

/// Ours, or OpenBao's name for it.
fn certificate_file<'d>(section: &mut Section<'d>, reading: &Reading<'_>) -> Option<Setting<'d>> {
    let ours = Setting::of_field(section.field("client_certificate_file"));
    let theirs = Setting::read(section, CERT_PATH, reading);
    if let (Some(_), Some(theirs)) = (&ours, &theirs)
        && theirs.is_from_field()
    {
        let (first, second) = ("client_certificate_file", CERT_PATH.field);
        theirs.place.report(GivenError::SameMeaning { first, second });
    }
    ours.or(theirs)
}

fn imds(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Url> {
    let Some(setting) = Setting::read(section, field_only("imds_endpoint"), reading) else {
        return http_url(IMDS, IMDS).map_err(|error| section.place().report(error)).ok();
    };
    let place = setting.place;
    let url = setting.try_map(|text| http_url(&text, IMDS))?.value;
    let is_near = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if !is_near {
        let host = url.host_str().unwrap_or_default().to_owned();
        reading.warn(place, WarningKind::DistantImds { host });
    }
    Some(url)
}

fn tenant_id(text: String) -> Result<String, GivenError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_sound = text.len() <= 253 && text.bytes().all(allowed);
    let is_domain = text.contains('.') && !text.starts_with('.') && !text.contains("..");
    let is_sound = is_sound && (is_domain || is_uuid(&text));
    if is_sound { Ok(text) } else { Err(GivenError::NotATenant) }
}

fn uuid(text: String) -> Result<String, GivenError> {
    if is_uuid(&text) { Ok(text) } else { Err(GivenError::NotAUuid) }
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    let is_hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(is_hex)
}

fn resource_id(text: String) -> Result<String, GivenError> {
    let lower = text.to_ascii_lowercase();
    let segments: Vec<&str> = lower.split('/').collect();
    let is_sound = matches!(
        segments.as_slice(),
        [
            "",
            "subscriptions",
            subscription,
            "resourcegroups",
            group,
            "providers",
            "microsoft.managedidentity",
            "userassignedidentities",
            name
        ] if !subscription.is_empty() && !group.is_empty() && !name.is_empty()
    );
    let is_sound = is_sound && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_sound { Ok(text) } else { Err(GivenError::NotAResourceId) }
}

fn path(text: String) -> Result<String, GivenError> {
    if text.is_empty() { Err(GivenError::NoPath) } else { Ok(text) }
}
