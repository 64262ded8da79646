//! Whom a request is for.

use http::Method;

use crate::emulator::Emulator;
use crate::entra::Endpoint;
use crate::identity::Protocol;
use crate::key_vault::{self, NoSuchVault, Route};
use crate::operation::{Operation, Service};

/// Whom a request is for.
#[derive(Debug)]
pub(crate) enum Target {
    /// The vault's name.
    KeyVault {
        vault: Result<String, NoSuchVault>,
        route: Route,
    },
    /// The endpoint and its tenant, if there is one at that path.
    Entra(Option<(Endpoint, String)>),
    Identity(Protocol),
    Nothing,
}

impl Target {
    /// Reads host and path of a request to the HTTPS port.
    pub(crate) fn of_https(emulator: &Emulator, method: &Method, host: &str, path: &str) -> Self {
        let endpoint = Endpoint::of(path).map(|(endpoint, tenant)| (endpoint, tenant.to_owned()));
        if endpoint.is_some() || host.split(':').next() == Some("login.emulator.test") {
            return Self::Entra(endpoint);
        }
        let vault = key_vault::vault_of(&emulator.world(), host);
        Self::KeyVault { vault, route: key_vault::route(method, path) }
    }

    /// Reads the path of a request to the HTTP port.
    pub(crate) fn of_http(path: &str) -> Self {
        Protocol::of(path).map_or(Self::Nothing, Self::Identity)
    }

    pub(crate) const fn service(&self) -> Service {
        match self {
            Self::KeyVault { .. } => Service::Keyvault,
            Self::Entra(_) => Service::Entra,
            Self::Identity(Protocol::AppService) => Service::Appservice,
            Self::Identity(Protocol::Imds) | Self::Nothing => Service::Imds,
        }
    }

    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::KeyVault { route, .. } => key_vault::operation(route),
            Self::Entra(endpoint) => {
                endpoint.as_ref().map_or(Operation::Other, |(endpoint, _)| endpoint.operation())
            }
            Self::Identity(_) => Operation::Token,
            Self::Nothing => Operation::Other,
        }
    }

    pub(crate) fn vault(&self) -> Option<&str> {
        match self {
            Self::KeyVault { vault, .. } => vault.as_deref().ok(),
            Self::Entra(_) | Self::Identity(_) | Self::Nothing => None,
        }
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        match self {
            Self::KeyVault { route, .. } => Some(route),
            Self::Entra(_) | Self::Identity(_) | Self::Nothing => None,
        }
    }
}
