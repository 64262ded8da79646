//! `seal`: the master keys.

mod azure;
mod break_glass;
mod out_of_use;
mod pkcs11;
mod proxy;
mod repetition;
mod setting;
mod static_seal;
pub(crate) mod transit;

use std::collections::BTreeSet;
use std::fmt;

use selkie_crypto::{KekId, NameError, SealName};
use selkie_hcl::{Located, Place, Section};
use url::Url;

pub use self::azure::{
    AzureCertificate, AzureIdentity, AzureKeyVaultSeal, IdentityReason, PublicKeyFingerprint,
    UserAssignedIdentity, WrapPlace,
};
pub use self::break_glass::BreakGlassSeal;
pub use self::out_of_use::{RevokedSeal, UnreadSeal};
pub(crate) use self::pkcs11::TokenChoice;
pub use self::pkcs11::{Pkcs11Mechanism, Pkcs11Seal};
pub use self::proxy::ProxyUrl;
pub(crate) use self::proxy::decode as decode_proxies;
pub use self::setting::Origin;
pub use self::static_seal::{StaticKey, StaticSeal};
pub use self::transit::{TransitSeal, UpstreamToken};
use crate::listener::Listener;
use crate::pins::PinKeeping;
use crate::quantity::limited;
use crate::secret::Reading;

/// A configured master key.
#[derive(Debug)]
pub struct Seal {
    /// `name`, by default the type. Envelopes name their recipients by it.
    pub name: SealName,
    /// `aliases`: names it had before. What was wrapped for it under one of them opens here.
    pub aliases: Vec<SealName>,
    /// `priority`: the seal with the lowest is asked first.
    pub priority: u32,
    /// `disabled`: it still opens what it wrapped, and wraps nothing more.
    pub disabled: bool,
    /// What holds the key.
    pub kind: SealKind,
}

/// All that the `seal` stanzas say.
#[derive(Debug)]
pub(crate) struct Declared {
    /// Those that are sound, in order of priority.
    pub(crate) seals: Vec<Seal>,
    /// The revoked ones.
    pub(crate) revoked: Vec<RevokedSeal>,
    /// Those whose key was not read, or was reported.
    pub(crate) unread: Vec<UnreadSeal>,
    /// The names that keys may list: those of all stanzas, so that one mistake in a seal is not
    /// reported at every key again.
    pub(crate) names: BTreeSet<String>,
}

/// What a key needs to know of a seal that it may be under.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'d> {
    pub(crate) name: &'d SealName,
    pub(crate) is_disabled: bool,
    pub(crate) is_offline: bool,
}

/// What holds a master key.
#[derive(Debug)]
pub enum SealKind {
    /// `seal "static"`.
    Static(StaticSeal),
    /// `seal "azurekeyvault"`.
    AzureKeyVault(Box<AzureKeyVaultSeal>),
    /// `seal "break-glass"`.
    BreakGlass(BreakGlassSeal),
    /// `seal "pkcs11"`.
    Pkcs11(Box<Pkcs11Seal>),
    /// `seal "transit"`.
    Transit(Box<TransitSeal>),
}

impl SealKind {
    /// The label of its stanza.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Static(_) => STATIC,
            Self::AzureKeyVault(_) => AZURE,
            Self::BreakGlass(_) => BREAK_GLASS,
            Self::Pkcs11(_) => PKCS11,
            Self::Transit(_) => TRANSIT,
        }
    }
}

/// What is wrong with a seal.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("no seal is declared: write seal \"azurekeyvault\" {{ ... }}")]
    NoSeal,
    #[error("all seals are disabled: nothing could be encrypted")]
    AllDisabled,
    #[error("all seals are revoked: nothing could be encrypted or decrypted")]
    AllRevoked,
    #[error(
        "nothing but \"break-glass\" would be encrypted for, and no server decrypts that: declare \
         another seal beside it"
    )]
    BreakGlassAlone,
    #[error(
        "seal type {found:?} is not in this build yet: there are \"azurekeyvault\", \"pkcs11\", \
         \"static\", \"transit\" and \"break-glass\""
    )]
    NotBuilt { found: String },
    #[error(
        "seal type {found:?} does not exist: there are \"azurekeyvault\", \"pkcs11\", \"static\", \
         \"transit\" and \"break-glass\""
    )]
    UnknownType { found: String },
    #[error(
        "another seal has the name or alias {name:?} already. Leave the name of the seal in use as \
         it is (its default is its type), since what is encrypted names it, and give the new one \
         another \"name\""
    )]
    RepeatedName { name: String },
    #[error("field \"aliases\": {name:?} is the name or an alias of a seal already")]
    RepeatedAlias { name: String },
    #[error(
        "with more than one seal each needs a \"priority\" of its own, the lowest is asked first"
    )]
    NoPriority,
    #[error("another seal has the priority {priority} already")]
    RepeatedPriority { priority: u32 },
    #[error("field {field:?}: a seal's name has 1 to 64 of the characters A-Z a-z 0-9 _ - .")]
    Name { field: &'static str, source: NameError },
    #[error(
        "{field:?}: a key id has 1 to 512 visible ASCII characters without quote and backslash"
    )]
    KeyId { field: &'static str, source: NameError },
    #[error("missing field {missing:?}: \"previous_key_id\" and \"previous_key\" belong together")]
    HalfAPreviousKey { missing: &'static str },
    #[error("this key id is used for another key already")]
    RepeatedKeyId,
    #[error("this key is declared already, under another id or in another seal")]
    RepeatedKey,
    #[error("the seal {name:?} has this master key already")]
    RepeatedMasterKey { name: String },
    #[error(
        "the seal {name:?} has the key ids {prefix}/vN already: if it is another server's key, set \
         \"key_id_prefix\""
    )]
    RepeatedKeyIds { name: String, prefix: String },
}

const STATIC: &str = "static";
const AZURE: &str = "azurekeyvault";
const PKCS11: &str = "pkcs11";
const TRANSIT: &str = "transit";
const BREAK_GLASS: &str = "break-glass";

/// The priority of a seal that has none.
const NEVER_ASKED: u32 = u32::MAX;

/// Vault's and OpenBao's other seal types.
const NOT_BUILT: [&str; 5] = ["alicloudkms", "awskms", "gcpckms", "kmip", "ocikms"];

/// All `seal` stanzas.
pub(crate) fn decode(
    root: &mut Section<'_>,
    pins: PinKeeping,
    listeners: &[Listener],
    reading: &Reading<'_>,
) -> Declared {
    let stanzas = root.labelled("seal");
    if stanzas.is_empty() {
        root.place().report(SealError::NoSeal);
    }
    let has_any = !stanzas.is_empty();
    let (revoked, stanzas) = out_of_use::take(stanzas);
    let count = stanzas.len();
    let asked = stanzas.iter().filter(|(kind, _)| kind.value != BREAK_GLASS).count();
    let mut names = BTreeSet::new();
    let (mut in_azure, mut in_hsms, mut in_transit) = (Vec::new(), Vec::new(), Vec::new());
    let mut offline = Vec::new();
    let (mut seals, mut unread) = (Vec::<Seal>::new(), Vec::new());
    for (kind, mut section) in stanzas {
        let place = kind.place;
        let name = section.field("name").string();
        let given_name = name.as_ref().unwrap_or(&kind).value.clone();
        match kind.value.as_str() {
            AZURE => in_azure.push((given_name.clone(), place)),
            PKCS11 => in_hsms.push((given_name.clone(), place)),
            TRANSIT => in_transit.push((given_name.clone(), place)),
            BREAK_GLASS => offline.push((given_name.clone(), place)),
            _ => {}
        }
        names.insert(given_name);
        let context = Context { is_only_one: asked == 1, listeners, reading };
        let (seal, key_places) = match seal(kind, name, section, context) {
            Some(Decoded::Sound(seal, places)) => (seal, places),
            Some(Decoded::Unread(seal)) => {
                unread.push(seal);
                continue;
            }
            None => continue,
        };
        pins.warn_of(&seal, place, reading);
        repetition::refuse_repeated(&seals, &seal, place);
        out_of_use::refuse_name(&revoked, &seal, place);
        repetition::refuse_repeated_keys(&seals, &seal, &key_places);
        seals.push(seal);
    }
    repetition::refuse_shared(&seals, &[in_hsms, in_azure, in_transit, offline], reading);
    seals.sort_by_key(|seal| (seal.is_offline(), seal.priority));
    let declared = Declared { seals, revoked, unread, names };
    // No server must start with them. In an emergency whatever they open is enough.
    if has_any && !reading.makes_up_access() {
        refuse_useless(&declared, count, root);
    }
    declared
}

/// Refuses seals of which none would do its part; `count` of them are not revoked.
fn refuse_useless(declared: &Declared, count: usize, root: &Section<'_>) {
    let are_all_known = declared.choices().count() == count;
    if count == 0 {
        root.place().report(SealError::AllRevoked);
    } else if are_all_known && declared.choices().all(|choice| choice.is_disabled) {
        root.place().report(SealError::AllDisabled);
    } else if are_all_known && !declared.seals.iter().any(Seal::is_asked) {
        root.place().report(SealError::BreakGlassAlone);
    }
}

type Stanza<'d> = (Located<'d, String>, Section<'d>);

/// What a stanza is read beside.
#[derive(Clone, Copy)]
struct Context<'c> {
    is_only_one: bool,
    listeners: &'c [Listener],
    reading: &'c Reading<'c>,
}

/// What a stanza is, but for its own problems.
enum Decoded<'d> {
    /// With the places of its keys.
    Sound(Seal, Vec<Place<'d>>),
    Unread(UnreadSeal),
}

fn seal<'d>(
    kind: Located<'d, String>,
    name: Option<Located<'d, String>>,
    mut section: Section<'d>,
    Context { is_only_one, listeners, reading }: Context<'_>,
) -> Option<Decoded<'d>> {
    if ![STATIC, AZURE, PKCS11, TRANSIT, BREAK_GLASS].contains(&kind.value.as_str()) {
        refuse_type(kind);
        return None;
    }
    let priority = match kind.value.as_str() {
        BREAK_GLASS => {
            break_glass::refuse_priority(&mut section);
            Some(NEVER_ASKED)
        }
        _ => priority(&mut section, is_only_one),
    };
    let disabled = section.field("disabled").boolean().is_some_and(|flag| flag.value);
    let decoded = match kind.value.as_str() {
        AZURE => azure::decode(&mut section, reading)
            .map(|seal| (SealKind::AzureKeyVault(Box::new(seal)), Vec::new())),
        BREAK_GLASS => break_glass::decode(&mut section, reading)
            .map(|seal| (SealKind::BreakGlass(seal), Vec::new())),
        PKCS11 => pkcs11::decode(&mut section, reading)
            .map(|seal| (SealKind::Pkcs11(Box::new(seal)), Vec::new())),
        TRANSIT => transit::decode(&mut section, listeners, reading)
            .map(|seal| (SealKind::Transit(Box::new(seal)), Vec::new())),
        _ => static_seal::decode(&mut section, reading)
            .map(|(seal, places)| (SealKind::Static(seal), places)),
    };
    let aliases = aliases(&mut section);
    section.finish();
    let is_offline = kind.value == BREAK_GLASS;
    let name = seal_name(name.unwrap_or(kind), "name")?.value;
    let Some((kind, places)) = decoded else {
        return Some(Decoded::Unread(UnreadSeal { name, aliases, disabled, is_offline }));
    };
    Some(Decoded::Sound(Seal { name, aliases, priority: priority?, disabled, kind }, places))
}

fn seal_name<'d>(text: Located<'d, String>, field: &'static str) -> Option<Located<'d, SealName>> {
    text.try_map(|text| SealName::new(&text).map_err(|source| SealError::Name { field, source }))
}

fn aliases(section: &mut Section<'_>) -> Vec<SealName> {
    let aliases = section.field("aliases").strings().map(|list| list.value).unwrap_or_default();
    let aliases = aliases.into_iter().filter_map(|alias| seal_name(alias, "aliases"));
    aliases.map(|alias| alias.value).collect()
}

fn refuse_type(kind: Located<'_, String>) {
    let is_known = NOT_BUILT.contains(&kind.value.as_str());
    let found = kind.value;
    kind.place.report(match is_known {
        true => SealError::NotBuilt { found },
        false => SealError::UnknownType { found },
    });
}

fn priority(section: &mut Section<'_>, is_only_one: bool) -> Option<u32> {
    let field = section.field("priority");
    if field.place().is_none() {
        if !is_only_one {
            section.place().report(SealError::NoPriority);
        }
        return is_only_one.then_some(1);
    }
    let priority = limited(field.unsigned_or_text()?, "priority", 1..=u64::from(u32::MAX))?;
    Some(priority.value)
}

impl Declared {
    /// These, and no others.
    pub(crate) fn given(seals: Vec<Seal>) -> Self {
        let names = seals.iter().map(|seal| seal.name.to_string()).collect();
        Self { seals, revoked: Vec::new(), unread: Vec::new(), names }
    }

    /// What keys may be under, in order of priority. Of an offline seal nobody needs the key for that.
    pub(crate) fn choices(&self) -> impl Iterator<Item = Choice<'_>> {
        let sound = self.seals.iter().map(|seal| Choice {
            name: &seal.name,
            is_disabled: seal.disabled,
            is_offline: seal.is_offline(),
        });
        let offline = self.unread.iter().filter(|seal| seal.is_offline);
        sound.chain(offline.map(|seal| Choice {
            name: &seal.name,
            is_disabled: seal.disabled,
            is_offline: true,
        }))
    }

    /// Whether all seals that a server can ask are there to be counted.
    pub(crate) fn has_all_asked(&self) -> bool {
        self.unread.iter().all(|seal| seal.is_offline)
    }
}

impl Seal {
    /// Whether `name` is its name or one that it had before.
    #[must_use]
    pub fn is_known_as(&self, name: &SealName) -> bool {
        self.name == *name || self.aliases.contains(name)
    }

    /// The master key that somebody else holds, if it is one.
    pub(crate) fn distant_key(&self) -> Option<DistantKey> {
        match &self.kind {
            SealKind::Static(_) | SealKind::Pkcs11(_) | SealKind::BreakGlass(_) => None,
            SealKind::AzureKeyVault(seal) => {
                let (endpoint, name) = (seal.endpoint.clone(), seal.key_name.clone());
                Some(DistantKey::InKeyVault { endpoint, name })
            }
            SealKind::Transit(seal) => {
                Some(DistantKey::Transit { key_id_prefix: seal.key_id_prefix.clone() })
            }
        }
    }

    /// The same as it was before, where it has moved: what was wrapped for it there opens here.
    pub(crate) fn former_keys(&self) -> Vec<DistantKey> {
        let SealKind::AzureKeyVault(seal) = &self.kind else { return Vec::new() };
        let in_vault = |endpoint: &Url| DistantKey::InKeyVault {
            endpoint: endpoint.clone(),
            name: seal.key_name.clone(),
        };
        seal.former_vaults.iter().map(in_vault).collect()
    }

    /// Whether one key is behind both, as far as the file tells; static keys are compared apart.
    fn has_master_key_of(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (SealKind::BreakGlass(one), SealKind::BreakGlass(other)) => one.kek == other.kek,
            (SealKind::Pkcs11(one), SealKind::Pkcs11(other)) => one.shares_a_key_with(other),
            _ => {
                let keys = |seal: &Self| seal.distant_key().into_iter().chain(seal.former_keys());
                let others: Vec<_> = keys(other).collect();
                keys(self).any(|key| others.contains(&key))
            }
        }
    }

    /// Whether it is enabled and a server can ask it to unwrap.
    pub(crate) const fn is_asked(&self) -> bool {
        !self.disabled && !self.is_offline()
    }

    /// Whether its private key is with people, and no server can ask it.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        matches!(self.kind, SealKind::BreakGlass(_))
    }

    /// The one version of an offline key.
    pub(crate) const fn offline_id(&self) -> Option<&KekId> {
        match &self.kind {
            SealKind::BreakGlass(seal) => Some(&seal.kek),
            _ => None,
        }
    }

    pub(crate) fn in_hsm(&self) -> Option<&Pkcs11Seal> {
        match &self.kind {
            SealKind::Pkcs11(seal) => Some(seal),
            _ => None,
        }
    }

    /// The versions that are in our own memory, the current one first.
    pub(crate) fn static_keys(&self) -> impl Iterator<Item = &StaticKey> {
        let keys = match &self.kind {
            SealKind::Static(seal) => Some(seal.keys()),
            SealKind::AzureKeyVault(_)
            | SealKind::Pkcs11(_)
            | SealKind::Transit(_)
            | SealKind::BreakGlass(_) => None,
        };
        keys.into_iter().flatten()
    }
}

/// A master key that somebody else holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DistantKey {
    /// In Azure Key Vault or Managed HSM.
    InKeyVault {
        /// Of the vault.
        endpoint: Url,
        /// Of the key in it.
        name: String,
    },
    /// In another server's transit engine, wherever that is.
    Transit {
        /// `key_id_prefix`: what the ids of its versions begin with.
        key_id_prefix: String,
    },
}

impl fmt::Display for DistantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InKeyVault { endpoint, name } => write!(f, "{endpoint}keys/{name}"),
            Self::Transit { key_id_prefix } => f.write_str(key_id_prefix),
        }
    }
}
