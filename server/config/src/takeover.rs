//! `takeover` in a `key`: the transit key of another server whose place the key takes.

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KeyVersion, NameError, SealName};
use selkie_hcl::Section;
use url::Url;

use crate::key::{Surroundings, VersionRule};
use crate::quantity::number;
use crate::seal::transit::{self, TransitSeal};
use crate::seal::{Declared, SealKind};

/// A key of another server whose place one of ours takes.
#[derive(Debug)]
pub struct Takeover {
    /// The mount of our key.
    pub mount: MountPath,
    /// Our key.
    pub key: KeyName,
    /// `name`: the old server as the audit log names it; by default `takeover.` and its host.
    pub name: SealName,
    /// The old key, and how it is reached.
    pub server: TransitSeal,
    /// `last_version`: the newest version of the old key; `None` if it is to be asked for.
    pub last_version: Option<KeyVersion>,
}

/// What is wrong with a takeover.
#[derive(Debug, thiserror::Error)]
enum TakeoverError {
    #[error(
        "the key's version would begin at {least}, which is not above the old key's versions \
         (1 to {newest}): a Vault whose stored keys have the same version never moves to Selkie's \
         envelopes; set \"generation = {needed}\" in the key, or more"
    )]
    NotAbove { least: u32, newest: u32, needed: u32 },
    #[error(
        "the key's \"version\" is {stated}, which is not above the old key's versions (1 to \
         {newest}): a Vault whose stored keys have the same version never moves to Selkie's \
         envelopes; raise it"
    )]
    StatedNotAbove { stated: u32, newest: u32 },
    #[error("field {field:?}: it belongs to a seal and has no meaning in a takeover: remove it")]
    OfASeal { field: &'static str },
    #[error("field \"name\": a name has 1 to 64 of the characters A-Z a-z 0-9 _ - .")]
    Name { source: NameError },
    #[error("field \"name\": a seal has the name {name:?}; the audit log must tell them apart")]
    NameOfASeal { name: String },
    #[error(
        "the seal {seal:?} wraps DEKs under this very key: whoever may decrypt with Selkie's key would \
         have it open them, as ciphertexts of the old server, and get DEKs; take another key for the \
         seal"
    )]
    KeyOfASeal { seal: String },
    #[error(
        "the seal {seal:?} wraps DEKs under a key of this namespace, mount and name at another \
         address, and nothing tells whether both addresses are one server; if they are, whoever may \
         decrypt with Selkie's key would get DEKs; take a key of another name for the seal"
    )]
    PerhapsKeyOfASeal { seal: String },
}

/// What `section`, the stanza in the key, says; `None` if it is not sound.
pub(crate) fn decode(
    mut section: Section<'_>,
    ours: Option<(&MountPath, &KeyName)>,
    version: VersionRule,
    Surroundings { seals, listeners, reading, .. }: Surroundings<'_>,
) -> Option<Takeover> {
    let last_version = number::<u32>(&mut section, "last_version", 1..=u64::from(u32::MAX));
    let last_version = last_version.and_then(|located| KeyVersion::new(located.value));
    for field in ["key_id_prefix", "poll_interval"] {
        section.refuse(field, || TakeoverError::OfASeal { field });
    }
    let server = reading
        .without_vault_variables(|reading| transit::decode(&mut section, listeners, reading));
    let name = name(&mut section, server.as_ref(), seals);
    if let Some(server) = &server {
        refuse_key_of_a_seal(&section, server, seals);
    }
    refuse_low_version(&section, version, last_version);
    section.finish();
    let (mount, key) = ours?;
    let (mount, key) = (mount.clone(), key.clone());
    Some(Takeover { mount, key, name: name?, server: server?, last_version })
}

fn name(
    section: &mut Section<'_>,
    server: Option<&TransitSeal>,
    seals: &Declared,
) -> Option<SealName> {
    let field = section.field("name");
    if field.place().is_none() {
        return default_name(&server?.address);
    }
    let name = field.string()?.try_map(|text| match seals.names.contains(&text) {
        true => Err(TakeoverError::NameOfASeal { name: text }),
        false => SealName::new(&text).map_err(|source| TakeoverError::Name { source }),
    });
    name.map(|name| name.value)
}

/// Refuses a takeover of the key of a seal: what that seal has wrapped is a ciphertext of the old server
/// to look at, and its plaintext is a DEK. A disabled seal has wrapped DEKs, too.
fn refuse_key_of_a_seal(section: &Section<'_>, server: &TransitSeal, seals: &Declared) {
    let its_key = key_of(server);
    for seal in &seals.seals {
        let SealKind::Transit(transit) = &seal.kind else { continue };
        if key_of(transit) != its_key {
            continue;
        }
        let seal = seal.name.as_str().to_owned();
        section.place().report(match transit.address.origin() == server.address.origin() {
            true => TakeoverError::KeyOfASeal { seal },
            false => TakeoverError::PerhapsKeyOfASeal { seal },
        });
    }
}

/// The path and the name of a key. A namespace may as well be said in the mount's path, and the root
/// namespace may be named.
fn key_of(server: &TransitSeal) -> (String, &str) {
    let namespace = server.namespace.as_deref().unwrap_or_default().trim_matches('/');
    let namespace = if namespace == "root" { "" } else { namespace };
    let path = format!("{namespace}/{}", server.mount_path);
    (path.trim_matches('/').to_owned(), &server.key_name)
}

/// A host may have other characters than a name, and more of them.
fn default_name(address: &Url) -> Option<SealName> {
    let host = address.host_str().unwrap_or_default();
    let fits = |one: char| one.is_ascii_alphanumeric() || "_-.".contains(one);
    let host = host.chars().map(|one| if fits(one) { one } else { '-' }).take(55);
    SealName::new(&"takeover.".chars().chain(host).collect::<String>()).ok()
}

/// Refuses a key whose versions would begin among the old ones (I7). Of a key that nobody has rotated
/// that is the first one.
fn refuse_low_version(
    section: &Section<'_>,
    version: VersionRule,
    last_version: Option<KeyVersion>,
) {
    let newest = last_version.unwrap_or(KeyVersion::FIRST).get();
    match version {
        VersionRule::Stated(stated) if stated.get() <= newest => {
            let stated = stated.get();
            section.place().report(TakeoverError::StatedNotAbove { stated, newest });
        }
        VersionRule::Counted { generation } => {
            let least = generation.saturating_mul(VersionRule::GENERATION_SIZE).saturating_add(1);
            if least <= newest {
                let needed = newest.div_ceil(VersionRule::GENERATION_SIZE);
                section.place().report(TakeoverError::NotAbove { least, newest, needed });
            }
        }
        VersionRule::Stated(_) => {}
    }
}
