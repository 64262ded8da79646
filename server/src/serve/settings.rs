//! The configuration's words for a listener in those of selkie-listener, which knows nothing of
//! the configuration.

use std::net::SocketAddr;

use selkie_config::{ClientCertificates, ForwardedFor, Listener, ProxyProtocol, Tls, TlsVersion};
use selkie_listener::{ClientTrust, Limits, ListenerSettings, TlsFiles, TlsMaterial, TlsSource};

use super::{EndpointName, ServeError};
use crate::auth::trust_files;

/// Reads and checks the TLS files of a listener, if it speaks TLS.
///
/// # Errors
///
/// [`ServeError::Tls`].
pub fn load_tls(listener: &Listener) -> Result<Option<TlsMaterial>, ServeError> {
    let load = |tls| TlsMaterial::load(&tls_files(tls));
    let loaded = listener.tls.as_ref().map(load).transpose();
    let loaded = loaded
        .map_err(|source| ServeError::Tls { endpoint: listener.endpoint.clone().into(), source })?;
    let trust = loaded.as_ref().and_then(TlsMaterial::client_trust);
    if trust.is_some_and(ClientTrust::has_uncovered_authority) {
        let endpoint = EndpointName::from(listener.endpoint.clone());
        let outcome = match trust.is_some_and(ClientTrust::is_strict) {
            true => "are refused",
            false => "cannot be revoked",
        };
        tracing::warn!(
            listener = %endpoint,
            "no list of tls_client_crl_file speaks for one of the authorities in tls_client_ca_file: \
             its certificates {outcome}"
        );
    }
    Ok(loaded)
}

pub(super) fn listener_settings(
    listener: &Listener,
    address: SocketAddr,
    tls: Option<TlsSource>,
) -> ListenerSettings {
    ListenerSettings {
        name: address.to_string(),
        limits: Limits {
            connections: listener.limits.max_connections,
            header: listener.limits.read_header_timeout,
            idle: listener.limits.idle_timeout,
            ..Limits::default()
        },
        tls,
        proxy_protocol: proxy_protocol(&listener.proxy_protocol),
        forwarded_for: listener.forwarded_for.as_ref().map(forwarded_for),
    }
}

/// Whether an accept loop can go on as `new`: what it was started with is the same.
pub(super) fn is_same_protocol(old: &Listener, new: &Listener) -> bool {
    let limits = |listener: &Listener| {
        let limits = &listener.limits;
        (limits.max_connections, limits.read_header_timeout, limits.idle_timeout)
    };
    old.tls.is_some() == new.tls.is_some()
        && old.proxy_protocol == new.proxy_protocol
        && old.forwarded_for == new.forwarded_for
        && limits(old) == limits(new)
}

fn tls_files(tls: &Tls) -> TlsFiles {
    TlsFiles {
        certificate: tls.cert_file.clone(),
        key: tls.key_file.clone(),
        client_certificates: client_certificates(&tls.client_certificates),
        min_version: tls_version(tls.min_version),
        max_version: tls_version(tls.max_version),
    }
}

fn client_certificates(asked: &ClientCertificates) -> selkie_listener::ClientCertificates {
    use selkie_listener::ClientCertificates as Asked;
    match asked {
        ClientCertificates::NotRequested => Asked::NotAsked,
        ClientCertificates::Optional(authorities) => Asked::Optional(trust_files(authorities)),
        ClientCertificates::Required(authorities) => Asked::Required(trust_files(authorities)),
    }
}

const fn tls_version(version: TlsVersion) -> selkie_listener::TlsVersion {
    match version {
        TlsVersion::Tls12 => selkie_listener::TlsVersion::Tls12,
        TlsVersion::Tls13 => selkie_listener::TlsVersion::Tls13,
    }
}

fn proxy_protocol(protocol: &ProxyProtocol) -> selkie_listener::ProxyProtocol {
    use selkie_listener::ProxyProtocol as Behavior;
    match protocol {
        ProxyProtocol::Off => Behavior::Off,
        ProxyProtocol::UseAlways => Behavior::UseAlways,
        ProxyProtocol::AllowAuthorized(proxies) => Behavior::AllowAuthorized(proxies.clone()),
        ProxyProtocol::DenyUnauthorized(proxies) => Behavior::DenyUnauthorized(proxies.clone()),
    }
}

fn forwarded_for(declared: &ForwardedFor) -> selkie_listener::ForwardedFor {
    selkie_listener::ForwardedFor {
        authorized: declared.authorized.clone(),
        hop_skips: declared.hop_skips,
        reject_not_authorized: declared.reject_not_authorized,
        reject_not_present: declared.reject_not_present,
    }
}
