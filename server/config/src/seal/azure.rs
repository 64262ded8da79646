//! `seal "azurekeyvault"`: a master key in Azure Key Vault or Managed HSM, with the fields and the
//! environment variables of Vault's own stanza.

pub(super) mod certificate;
pub(super) mod fingerprint;
mod given;
mod identity;
mod location;
mod names;

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use selkie_hcl::Section;
use url::Url;

pub use self::certificate::AzureCertificate;
pub use self::fingerprint::PublicKeyFingerprint;
use self::given::Given;
use self::identity::Chosen;
pub use self::identity::{AzureIdentity, IdentityReason, UserAssignedIdentity};
pub(super) use self::names::OF_ONE_SEAL;
use super::proxy::{self, ProxyUrl};
use super::setting::{self, Origin, Setting, field_only};
use crate::quantity::duration;
use crate::secret::Reading;
use crate::warning::WarningKind;

/// A master key in Azure Key Vault or Managed HSM, and how it is reached.
#[derive(Debug)]
pub struct AzureKeyVaultSeal {
    /// `endpoint`, else `https://{vault_name}.{resource}`: scheme, host and port alone.
    pub endpoint: Url,
    /// `resource`: the suffix of the service's hosts, such as `vault.azure.net`; the audience of
    /// tokens is `https://` and this.
    pub resource: String,
    /// `key_name`: 1 to 127 of `0-9 A-Z a-z -`.
    pub key_name: String,
    /// `former_vaults`: `https://HOST[:PORT]` of the vaults from whose backup the key was restored.
    pub former_vaults: Vec<Url>,
    /// `wrap`: where DEKs are wrapped.
    pub wrap: WrapPlace,
    /// `poll_interval`: how often the versions of the key are asked for.
    pub poll_interval: Duration,
    /// `public_key_sha256`: fingerprints of public keys that may be used without Key Vault's word.
    pub public_keys: Vec<PublicKeyFingerprint>,
    /// Who the server is.
    pub identity: AzureIdentity,
    /// Why it is that one.
    pub identity_reason: IdentityReason,
    /// `authority_host`: where Entra is; scheme, host and port alone.
    pub authority: Url,
    /// `ca_file`: the only authorities that TLS to Key Vault and Entra trusts; `None` for the
    /// system's.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// The HTTP proxy on the way to Key Vault: `proxy`, else `HTTPS_PROXY` unless `NO_PROXY` exempts
    /// the host.
    pub key_vault_proxy: Option<ProxyUrl>,
    /// The same on the way to Entra. Managed identity never goes through one.
    pub entra_proxy: Option<ProxyUrl>,
}

/// Where a DEK is wrapped under an RSA key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WrapPlace {
    /// Here, under the pinned public key (I2).
    #[default]
    Local,
    /// In Key Vault, for the sake of its log.
    Remote,
}

/// What is wrong with the stanza as a whole.
#[derive(Debug, thiserror::Error)]
enum AzureError {
    #[error("field \"wrap\": there are \"local\" and \"remote\"")]
    UnknownWrap,
}

/// Vault asks for the current version at each wrap; this is how late a rotation may be seen.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(86_400);

/// The seal; `None` if something was reported to be wrong.
pub(super) fn decode(
    section: &mut Section<'_>,
    reading: &Reading<'_>,
) -> Option<AzureKeyVaultSeal> {
    let cloud = location::cloud(section, reading);
    let location = location::decode(section, cloud, reading);
    let given = Given::decode(section, reading);
    let authority = Setting::read(section, field_only("authority_host"), reading);
    let ca_file = Setting::read(section, field_only("ca_file"), reading);
    let proxies = proxy::decode(section, reading);
    let wrap = wrap(section);
    let poll_interval = duration(section, "poll_interval", LONGEST_POLL_INTERVAL);
    let public_keys = fingerprint::decode(section.field("public_key_sha256"));
    let chosen = identity::choose(given, reading);
    let ca_certificates = match ca_file {
        None => Some(None),
        Some(file) => certificate::authorities(file, reading).map(Some),
    };
    let authority = match authority {
        Some(authority) => location::authority(authority),
        None => ambient_authority(section, chosen.as_ref()?, cloud, reading),
    };
    let (location, chosen, proxies) = (location?, chosen?, proxies?);
    let authority = authority?;
    Some(AzureKeyVaultSeal {
        wrap: wrap?,
        poll_interval: poll_interval.unwrap_or(POLL_INTERVAL),
        public_keys: public_keys?,
        identity: chosen.identity,
        identity_reason: chosen.reason,
        ca_certificates: ca_certificates?,
        key_vault_proxy: proxies.to(&location.endpoint),
        entra_proxy: proxies.to(&authority),
        authority,
        endpoint: location.endpoint,
        resource: location.resource,
        key_name: location.key_name,
        former_vaults: location.former_vaults,
    })
}

fn wrap(section: &mut Section<'_>) -> Option<WrapPlace> {
    let Some(text) = section.field("wrap").string() else {
        return Some(WrapPlace::default());
    };
    let wrap = text.try_map(|text| match text.as_str() {
        "local" => Ok(WrapPlace::Local),
        "remote" => Ok(WrapPlace::Remote),
        _ => Err(AzureError::UnknownWrap),
    });
    wrap.map(|wrap| wrap.value)
}

/// Entra as the cloud has it. `AZURE_AUTHORITY_HOST` is believed only together with
/// `AZURE_FEDERATED_TOKEN_FILE`, as the webhook of AKS sets both: by itself it could lead a
/// credential anywhere.
fn ambient_authority(
    section: &Section<'_>,
    chosen: &Chosen,
    cloud: location::Cloud,
    reading: &Reading<'_>,
) -> Option<Url> {
    const VARIABLE: &str = "AZURE_AUTHORITY_HOST";
    let place = section.place();
    if let Some(value) = reading.ambient_text(VARIABLE) {
        if chosen.is_of_webhook {
            let origin = Origin::Variable(VARIABLE);
            return location::authority(Setting { value, origin, place });
        }
        reading.warn(place, WarningKind::StrayAuthorityHost);
    }
    cloud.authority().map_err(|error| place.report(error)).ok()
}
