//! Who the server is in Entra: chosen by what is written, never by trying.

use std::fmt;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

use super::certificate::{self, AzureCertificate};
use super::given::{Given, GivenSecret};
use super::names::{CLIENT_ID, CLIENT_SECRET, RESOURCE_ID, TENANT_ID, TOKEN_FILE};
use super::setting::{Name, Origin, Setting, field_only, server_url};
use crate::secret::{self, Reading};
use crate::warning::WarningKind;

/// How the server proves who it is.
pub enum AzureIdentity {
    /// The identity of the machine, from IMDS.
    ManagedIdentity {
        /// One of several user-assigned ones; `None` for the machine's own.
        user_assigned: Option<UserAssignedIdentity>,
        /// IMDS's address, `http://169.254.169.254` but for emulators.
        endpoint: Url,
    },
    /// The same from App Service, Functions or Container Apps.
    AppService {
        /// One of several user-assigned ones; `None` for the app's own.
        user_assigned: Option<UserAssignedIdentity>,
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`.
        header: Zeroizing<String>,
    },
    /// A token of Kubernetes or another issuer, exchanged in Entra.
    WorkloadIdentity {
        /// The tenant: a UUID or a domain.
        tenant_id: String,
        /// The application: a UUID.
        client_id: String,
        /// Where the token is; it changes, so it is not read here.
        token_file: PathBuf,
    },
    /// An application's secret.
    ClientSecret {
        /// The tenant: a UUID or a domain.
        tenant_id: String,
        /// The application: a UUID.
        client_id: String,
        /// The secret.
        client_secret: Zeroizing<String>,
    },
    /// An application's certificate.
    ClientCertificate {
        /// The tenant: a UUID or a domain.
        tenant_id: String,
        /// The application: a UUID.
        client_id: String,
        /// The certificate with its key.
        certificate: AzureCertificate,
    },
}

impl fmt::Debug for AzureIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManagedIdentity { .. } => "ManagedIdentity",
            Self::AppService { .. } => "AppService",
            Self::WorkloadIdentity { .. } => "WorkloadIdentity",
            Self::ClientSecret { .. } => "ClientSecret",
            Self::ClientCertificate { .. } => "ClientCertificate",
        })
    }
}

/// A user-assigned managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAssignedIdentity {
    /// `client_id`: by its application's id.
    ClientId(String),
    /// `object_id`: by its principal's id.
    ObjectId(String),
    /// `resource_id`: by its ARM resource id.
    ResourceId(String),
}

/// Why this identity was chosen; it prints as the log and `validate` tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityReason {
    /// The stanza or `VAULT_AZUREKEYVAULT_AUTH_METHOD` says so.
    #[error("{0} says so")]
    Declared(Origin),
    /// This is set, and so is all that belongs to it.
    #[error("{0} is set")]
    Given(Origin),
    /// Nothing else is set.
    #[error("there is no client secret, no certificate and no federated token file")]
    NothingElse,
}

/// A kind of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ManagedIdentity,
    AppService,
    WorkloadIdentity,
    ClientSecret,
    ClientCertificate,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManagedIdentity => "managed_identity",
            Self::AppService => "app_service",
            Self::WorkloadIdentity => "workload_identity",
            Self::ClientSecret => "client_secret",
            Self::ClientCertificate => "client_certificate",
        })
    }
}

/// What is wrong with an identity.
#[derive(Debug, thiserror::Error)]
enum IdentityError {
    #[error("{first} and {second} name two identities: remove one of them")]
    Two { first: Origin, second: Origin },
    #[error("{unused} has no part in identity {kind}: remove it, or name another \"identity\"")]
    Unused { unused: Origin, kind: Kind },
    #[error("identity {kind} needs {missing}")]
    Missing { kind: Kind, missing: Name },
    #[error(
        "{tenant} and {client} are set but no client secret: set {}, \"client_certificate_file\" \
         or \"federated_token_file\", or for a managed identity remove {tenant}",
        CLIENT_SECRET
    )]
    Incomplete { tenant: Origin, client: Origin },
    #[error("identity app_service needs the environment variable {variable}")]
    MissingVariable { variable: &'static str },
    #[error("environment variable IDENTITY_HEADER is no line of text")]
    Header,
    #[error(
        "App Service takes no resource id: name the identity by \"client_id\" or \"object_id\""
    )]
    NoResourceId,
    #[error("\"managed_id_kind\" is {kind:?}, and {missing} is not set")]
    KindWithoutId { kind: &'static str, missing: Name },
}

/// The identity, why it is this one, and whether its token file is the one of the environment.
pub(super) struct Chosen {
    pub(super) identity: AzureIdentity,
    pub(super) reason: IdentityReason,
    pub(super) is_of_webhook: bool,
}

/// Chooses; `None` if that was reported to be impossible.
pub(super) fn choose(given: Given<'_>, reading: &Reading<'_>) -> Option<Chosen> {
    if given.is_broken {
        return None;
    }
    let (kind, reason) = match given.kind {
        Some((kind, origin)) => {
            given.refuse_unused(kind)?;
            (kind, IdentityReason::Declared(origin))
        }
        None => given.only_one()?,
    };
    if kind != Kind::AppService && reading.ambient("IDENTITY_ENDPOINT").is_some() {
        reading.warn(given.place, WarningKind::StrayIdentityEndpoint);
    }
    let is_managed = matches!(kind, Kind::ManagedIdentity | Kind::AppService);
    if let Some(tenant) = given.tenant_id.as_ref().filter(|_| is_managed)
        && tenant.is_from_field()
    {
        reading.warn(tenant.place, WarningKind::UnusedTenant);
    }
    let token = given.token_file.as_ref();
    let is_of_webhook =
        kind == Kind::WorkloadIdentity && token.is_some_and(|token| !token.is_from_field());
    let identity = given.into_identity(kind, reading)?;
    Some(Chosen { identity, reason, is_of_webhook })
}

impl<'d> Given<'d> {
    /// What was given that makes an identity of a kind of its own.
    fn credentials(&self) -> Vec<(Kind, Origin)> {
        let of = |kind, setting: Option<&Setting<'d>>| setting.map(|s| (kind, s.origin));
        [
            self.client_secret.as_ref().map(|secret| (Kind::ClientSecret, secret.origin)),
            of(Kind::ClientCertificate, self.certificate_file.as_ref()),
            of(Kind::WorkloadIdentity, self.token_file.as_ref()),
            of(Kind::ManagedIdentity, self.object_id.as_ref()),
            of(Kind::ManagedIdentity, self.resource_id.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The one identity that everything given belongs to. `AZURE_FEDERATED_TOKEN_FILE` is set in
    /// every pod with workload identity, so it gives way to what was set on purpose.
    fn only_one(&self) -> Option<(Kind, IdentityReason)> {
        let mut found = self.credentials();
        let is_of_machine = |origin: Origin| matches!(origin, Origin::Variable(name) if TOKEN_FILE.variables.contains(&name));
        if found.len() > 1 {
            found.retain(|(_, origin)| !is_of_machine(*origin));
        }
        let Some((kind, origin)) = found.first().copied() else {
            return self.managed_unless_incomplete();
        };
        let other = found.iter().find(|(other, _)| *other != kind);
        if let Some((_, second)) = other.copied() {
            self.place.report(IdentityError::Two { first: origin, second });
            return None;
        }
        Some((kind, IdentityReason::Given(origin)))
    }

    fn managed_unless_incomplete(&self) -> Option<(Kind, IdentityReason)> {
        if let (Some(tenant), Some(client)) = (&self.tenant_id, &self.client_id) {
            let (tenant, client) = (tenant.origin, client.origin);
            self.place.report(IdentityError::Incomplete { tenant, client });
            return None;
        }
        Some((Kind::ManagedIdentity, IdentityReason::NothingElse))
    }

    /// Refuses fields that belong to another identity than the one that is named; variables may
    /// be there for other programs.
    fn refuse_unused(&self, kind: Kind) -> Option<()> {
        let serves = |other: Kind| match kind {
            Kind::AppService => other == Kind::ManagedIdentity,
            _ => other == kind,
        };
        let credentials = self.credentials().into_iter();
        let mut unused =
            credentials.filter(|(other, from)| !serves(*other) && matches!(from, Origin::Field(_)));
        let Some((_, unused)) = unused.next() else {
            return Some(());
        };
        self.place.report(IdentityError::Unused { unused, kind });
        None
    }

    fn into_identity(mut self, kind: Kind, reading: &Reading<'_>) -> Option<AzureIdentity> {
        match kind {
            Kind::ManagedIdentity => {
                let user_assigned = self.user_assigned()?;
                Some(AzureIdentity::ManagedIdentity { user_assigned, endpoint: self.imds? })
            }
            Kind::AppService => self.into_app_service(reading),
            Kind::WorkloadIdentity => {
                let (application, file) = (self.application(kind), self.token_file.take());
                let file = self.needed(file, kind, TOKEN_FILE);
                let ((tenant_id, client_id), file) = (application?, file?);
                let token_file = PathBuf::from(file.value);
                Some(AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file })
            }
            Kind::ClientSecret => {
                let (application, secret) = (self.application(kind), self.client_secret.take());
                let secret = self.needed(secret, kind, CLIENT_SECRET);
                let ((tenant_id, client_id), GivenSecret { value, .. }) = (application?, secret?);
                Some(AzureIdentity::ClientSecret { tenant_id, client_id, client_secret: value? })
            }
            Kind::ClientCertificate => {
                let (application, file) = (self.application(kind), self.certificate_file.take());
                let file = self.needed(file, kind, field_only("client_certificate_file"));
                let certificate = certificate::client_certificate(file?, reading);
                let ((tenant_id, client_id), certificate) = (application?, certificate?);
                Some(AzureIdentity::ClientCertificate { tenant_id, client_id, certificate })
            }
        }
    }

    fn needed<T>(&self, value: Option<T>, kind: Kind, missing: Name) -> Option<T> {
        if value.is_none() {
            self.place.report(IdentityError::Missing { kind, missing });
        }
        value
    }

    /// Tenant and client of an application.
    fn application(&mut self, kind: Kind) -> Option<(String, String)> {
        let (tenant, client) = (self.tenant_id.take(), self.client_id.take());
        let tenant = self.needed(tenant, kind, TENANT_ID);
        let client = self.needed(client, kind, CLIENT_ID);
        Some((tenant?.value, client?.value))
    }

    fn into_app_service(mut self, reading: &Reading<'_>) -> Option<AzureIdentity> {
        let place = self.place;
        let user_assigned = self.user_assigned()?;
        if let Some(UserAssignedIdentity::ResourceId(_)) = user_assigned {
            place.report(IdentityError::NoResourceId);
            return None;
        }
        let missing = |variable| move || place.report(IdentityError::MissingVariable { variable });
        let endpoint = reading.ambient_text("IDENTITY_ENDPOINT");
        let header = reading.ambient("IDENTITY_HEADER");
        if endpoint.is_none() {
            missing("IDENTITY_ENDPOINT")();
        }
        if header.is_none() {
            missing("IDENTITY_HEADER")();
        }
        let origin = Origin::Variable("IDENTITY_ENDPOINT");
        let endpoint = Setting { value: endpoint?, origin, place }
            .try_map(|text| server_url(&text, "http://localhost:4141/msi/token"))?;
        let header = secret::line(&header?);
        if header.is_none() {
            place.report(IdentityError::Header);
        }
        Some(AzureIdentity::AppService { user_assigned, endpoint: endpoint.value, header: header? })
    }

    /// The user-assigned identity, `Some(None)` for the machine's own.
    fn user_assigned(&mut self) -> Option<Option<UserAssignedIdentity>> {
        let mut named = Vec::new();
        for (name, setting, make) in [
            (CLIENT_ID, self.client_id.take(), UserAssignedIdentity::ClientId as fn(_) -> _),
            (field_only("object_id"), self.object_id.take(), UserAssignedIdentity::ObjectId),
            (RESOURCE_ID, self.resource_id.take(), UserAssignedIdentity::ResourceId),
        ] {
            if self.id_kind.is_none_or(|kind| kind == name.field) {
                match setting {
                    Some(setting) => named.push((setting.origin, make(setting.value))),
                    None if self.id_kind.is_some() => {
                        let kind = name.field;
                        self.place.report(IdentityError::KindWithoutId { kind, missing: name });
                        return None;
                    }
                    None => {}
                }
            }
        }
        if let [(first, _), (second, _), ..] = named.as_slice() {
            self.place.report(IdentityError::Two { first: *first, second: *second });
            return None;
        }
        Some(named.pop().map(|(_, identity)| identity))
    }
}
