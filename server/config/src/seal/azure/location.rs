//! Which key in which vault of which cloud, and where Entra is.

use selkie_hcl::Section;
use url::{Position, Url};

use super::names::{ENVIRONMENT, KEY_NAME, RESOURCE, VAULT_NAME};
use super::setting::{ServerUrlError, Setting, field_only, https_url};
use crate::secret::Reading;

const ENDPOINT_EXAMPLE: &str = "https://kv1.vault.azure.net";
const AUTHORITY_EXAMPLE: &str = "https://login.microsoftonline.com";
const FORMER_VAULTS: &str = "former_vaults";

/// Where the key is.
pub(super) struct Location {
    pub(super) endpoint: Url,
    pub(super) resource: String,
    pub(super) key_name: String,
    pub(super) former_vaults: Vec<Url>,
}

/// Where a cloud has its services: the suffix of vaults, and Entra.
#[derive(Clone, Copy)]
pub(super) struct Cloud {
    vault_suffix: &'static str,
    authority: &'static str,
}

const PUBLIC: Cloud =
    Cloud { vault_suffix: "vault.azure.net", authority: "https://login.microsoftonline.com" };
const CHINA: Cloud =
    Cloud { vault_suffix: "vault.azure.cn", authority: "https://login.chinacloudapi.cn" };
const US_GOVERNMENT: Cloud = Cloud {
    vault_suffix: "vault.usgovcloudapi.net",
    authority: "https://login.microsoftonline.us",
};

/// What is wrong with where the key is.
#[derive(Debug, thiserror::Error)]
enum LocationError {
    #[error(
        "there are \"AZUREPUBLICCLOUD\", \"AZURECHINACLOUD\" and \"AZUREUSGOVERNMENTCLOUD\"; for \
         another cloud set \"endpoint\", \"resource\" and \"authority_host\""
    )]
    UnknownCloud,
    #[error("the German cloud was closed in 2021")]
    ClosedCloud,
    #[error(
        "Azure Stack has no addresses of its own: remove it and set \"endpoint\", \"resource\" and \
         \"authority_host\""
    )]
    AzureStack,
    #[error("expected the suffix of a host's name such as \"vault.azure.net\", without scheme")]
    NotASuffix,
    #[error("a vault's name has 3 to 24 of the characters 0-9 A-Z a-z -")]
    VaultName,
    #[error(
        "a key's name has no \"/\": the versions are found by themselves, and the vault is named \
         by \"vault_name\""
    )]
    KeyNameWithSlash,
    #[error("a key's name has 1 to 127 of the characters 0-9 A-Z a-z -")]
    KeyName,
    #[error(
        "field {FORMER_VAULTS:?}: expected a vault's whole host name as key ids have it, such as \
         \"kv1.vault.azure.net\""
    )]
    NotAVault,
    #[error("field {FORMER_VAULTS:?}: that is the vault in which the key is now")]
    PresentVault,
    #[error("field {FORMER_VAULTS:?}: that vault is listed already")]
    RepeatedVault,
}

/// No vault or no key is named.
#[derive(Debug, thiserror::Error)]
#[error("missing {what}: set {how}")]
struct Missing {
    what: &'static str,
    how: &'static str,
}

/// The cloud that `environment` names; the public one where it is unset or wrong.
pub(super) fn cloud(section: &mut Section<'_>, reading: &Reading<'_>) -> Cloud {
    let named = Setting::read(section, ENVIRONMENT, reading);
    let cloud = named.and_then(|name| name.try_map(|name| cloud_named(&name)));
    cloud.map_or(PUBLIC, |cloud| cloud.value)
}

/// By the names of Microsoft's Go library, which Vault uses.
fn cloud_named(name: &str) -> Result<Cloud, LocationError> {
    match name.to_ascii_uppercase().as_str() {
        "AZUREPUBLICCLOUD" | "AZURECLOUD" => Ok(PUBLIC),
        "AZURECHINACLOUD" => Ok(CHINA),
        "AZUREUSGOVERNMENTCLOUD" | "AZUREUSGOVERNMENT" => Ok(US_GOVERNMENT),
        "AZUREGERMANCLOUD" => Err(LocationError::ClosedCloud),
        "AZURESTACKCLOUD" => Err(LocationError::AzureStack),
        _ => Err(LocationError::UnknownCloud),
    }
}

impl Cloud {
    pub(super) fn authority(self) -> Result<Url, ServerUrlError> {
        https_url(self.authority, AUTHORITY_EXAMPLE)
    }
}

/// An address of Entra.
pub(super) fn authority(setting: Setting<'_>) -> Option<Url> {
    let url = setting.try_map(|text| https_url(&text, AUTHORITY_EXAMPLE))?;
    Some(url.value)
}

/// Where the key is; `None` if that was reported to be wrong.
pub(super) fn decode(
    section: &mut Section<'_>,
    cloud: Cloud,
    reading: &Reading<'_>,
) -> Option<Location> {
    let resource = resource(section, cloud, reading);
    let endpoint = endpoint(section, resource.as_deref(), reading);
    let key_name = key_name(section, reading);
    let former_vaults = former_vaults(section, endpoint.as_ref());
    Some(Location {
        endpoint: endpoint?,
        resource: resource?,
        key_name: key_name?,
        former_vaults: former_vaults?,
    })
}

fn resource(section: &mut Section<'_>, cloud: Cloud, reading: &Reading<'_>) -> Option<String> {
    let Some(setting) = Setting::read(section, RESOURCE, reading) else {
        return Some(cloud.vault_suffix.to_owned());
    };
    let suffix = setting.try_map(|text| {
        let suffix = text.to_ascii_lowercase();
        if is_dns_suffix(&suffix) { Ok(suffix) } else { Err(LocationError::NotASuffix) }
    });
    suffix.map(|suffix| suffix.value)
}

/// At least two labels of letters, digits and inner hyphens.
fn is_dns_suffix(text: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 200 && text.contains('.') && text.split('.').all(is_label)
}

fn endpoint(
    section: &mut Section<'_>,
    resource: Option<&str>,
    reading: &Reading<'_>,
) -> Option<Url> {
    let place = section.place();
    let vault = Setting::read(section, VAULT_NAME, reading);
    let declared = Setting::read(section, field_only("endpoint"), reading);
    if vault.is_none() && declared.is_none() {
        let how = "\"vault_name\" or VAULT_AZUREKEYVAULT_VAULT_NAME, or \"endpoint\"";
        place.report(Missing { what: "vault", how });
    }
    let is_unnamed = vault.is_none();
    let vault = vault.and_then(|name| name.try_map(checked_vault_name));
    if let Some(declared) = declared {
        let url = declared.try_map(|text| https_url(&text, ENDPOINT_EXAMPLE))?;
        return (is_unnamed || vault.is_some()).then_some(url.value);
    }
    let url = format!("https://{}.{}", vault?.value, resource?);
    https_url(&url, ENDPOINT_EXAMPLE).map_err(|error| place.report(error)).ok()
}

fn checked_vault_name(name: String) -> Result<String, LocationError> {
    if is_name(&name, 3, 24) { Ok(name) } else { Err(LocationError::VaultName) }
}

fn key_name(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<String> {
    let Some(setting) = Setting::read(section, KEY_NAME, reading) else {
        let how = "\"key_name\" or VAULT_AZUREKEYVAULT_KEY_NAME";
        section.place().report(Missing { what: "key", how });
        return None;
    };
    let name = setting.try_map(|name| match name {
        // Key Vault knows no case, and two spellings would look like two keys.
        name if is_name(&name, 1, 127) => Ok(name.to_ascii_lowercase()),
        name if name.contains('/') => Err(LocationError::KeyNameWithSlash),
        _ => Err(LocationError::KeyName),
    });
    name.map(|name| name.value)
}

/// The vaults that the key was in before `endpoint`'s; `None` if one was reported to be wrong.
fn former_vaults(section: &mut Section<'_>, endpoint: Option<&Url>) -> Option<Vec<Url>> {
    let field = section.field(FORMER_VAULTS);
    if field.place().is_none() {
        return Some(Vec::new());
    }
    let mut vaults = Vec::<Url>::new();
    let mut are_sound = true;
    for host in field.strings()?.value {
        let vault = host.try_map(|host| match former_vault(&host) {
            None => Err(LocationError::NotAVault),
            Some(vault) if Some(&vault) == endpoint => Err(LocationError::PresentVault),
            Some(vault) if vaults.contains(&vault) => Err(LocationError::RepeatedVault),
            Some(vault) => Ok(vault),
        });
        are_sound &= vault.is_some();
        vaults.extend(vault.map(|vault| vault.value));
    }
    are_sound.then_some(vaults)
}

/// `HOST[:PORT]`, where a name alone is no host: `kv1` is meant to have a suffix.
fn former_vault(host: &str) -> Option<Url> {
    let url = Url::parse(&format!("https://{host}")).ok()?;
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let is_whole = authority.eq_ignore_ascii_case(host) && host.contains(['.', ':']);
    is_whole.then_some(url)
}

fn is_name(text: &str, least: usize, most: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (least..=most).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_made_of_labels() {
        for suffix in ["vault.azure.net", "managedhsm.azure.net", "vault.local", "v.a-b.example"] {
            assert!(is_dns_suffix(suffix), "{suffix}");
        }
        for text in ["", "vault", ".azure.net", "vault.azure.net.", "a..b", "a.b/c", "a.b:443"] {
            assert!(!is_dns_suffix(text), "{text}");
        }
        assert!(!is_dns_suffix("https://vault.azure.net") && !is_dns_suffix("-a.b"));
    }

    #[test]
    fn clouds_go_by_their_names_in_any_case() {
        let suffix = |name| cloud_named(name).map(|cloud| cloud.vault_suffix).ok();
        assert_eq!(suffix("AzurePublicCloud"), Some("vault.azure.net"));
        assert_eq!(suffix("AZURECHINACLOUD"), Some("vault.azure.cn"));
        assert_eq!(suffix("AZUREUSGOVERNMENTCLOUD"), Some("vault.usgovcloudapi.net"));
        assert_eq!(suffix("AZUREGERMANCLOUD"), None);
        assert_eq!(suffix("MOON"), None);
    }

    #[test]
    fn every_cloud_has_an_authority() {
        for cloud in [PUBLIC, CHINA, US_GOVERNMENT] {
            assert!(cloud.authority().is_ok());
        }
    }
}
