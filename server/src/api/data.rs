//! What stands in replies, by its wire names. Vault keeps most of it in maps, which Go writes in
//! the order of their keys; so these structs' members are in alphabetical order, except where
//! Vault has a struct of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::ItemError;
use crate::clock::ZERO_TIME;

/// `encrypt` and `rewrap`, single.
#[derive(Debug, Serialize)]
pub struct Encrypted<'a> {
    /// `vault:v<N>:...`
    pub ciphertext: &'a str,
    /// The `<N>` of it.
    pub key_version: u32,
}

/// `encrypt` and `rewrap`, batch; the reference goes back as it came.
#[derive(Debug)]
pub struct EncryptedItem<'a> {
    /// The ciphertext, or why there is none.
    pub result: Result<Encrypted<'a>, ItemError>,
    /// The client's name for the item.
    pub reference: &'a str,
}

impl Serialize for EncryptedItem<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            ciphertext: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            key_version: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<String>,
            reference: &'a str,
        }
        let encrypted = self.result.as_ref().ok();
        Wire {
            ciphertext: encrypted.map(|item| item.ciphertext),
            key_version: encrypted.map(|item| item.key_version),
            error: self.result.as_ref().err().map(ToString::to_string),
            reference: self.reference,
        }
        .serialize(serializer)
    }
}

/// A batch of [`EncryptedItem`]s.
#[derive(Debug, Serialize)]
pub struct EncryptedBatch<'a> {
    /// One result per item, in the order of the items.
    pub batch_results: &'a [EncryptedItem<'a>],
}

/// `keys/:name`, read, and the answer to every change of a key.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the wire's, not ours")]
pub struct Key<'a> {
    /// Ours: whether seals that are away are left out; absent where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_missing_seals: Option<bool>,
    /// Whether its material may be backed up.
    pub allow_plaintext_backup: bool,
    /// In seconds; 0 is never.
    pub auto_rotate_period: i64,
    /// Whether it may be deleted.
    pub deletion_allowed: bool,
    /// Whether a key is derived per context.
    pub derived: bool,
    /// Whether its material may be exported.
    pub exportable: bool,
    /// Whether its material came from outside.
    pub imported_key: bool,
    /// Unix time of creation, by version as text; sorted as text, as Go does.
    pub keys: BTreeMap<String, i64>,
    /// The version that encrypts by default.
    pub latest_version: u32,
    /// Ours: the seals that the latest version is without as they were away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out_seals: Option<Vec<&'a str>>,
    /// Oldest version that was not trimmed; 0 when none was.
    pub min_available_version: u32,
    /// Oldest version that decrypts.
    pub min_decryption_version: u32,
    /// Oldest version that may encrypt; 0 is no limit of its own.
    pub min_encryption_version: u32,
    /// The key's name.
    pub name: &'a str,
    /// Always true here.
    pub supports_decryption: bool,
    /// Whether a context can derive keys.
    pub supports_derivation: bool,
    /// Always true here.
    pub supports_encryption: bool,
    /// Always false here.
    pub supports_signing: bool,
    /// Vault's name of the key type.
    #[serde(rename = "type")]
    pub key_type: &'a str,
}

/// The member `wrap_info` of an envelope, in the order of Vault's struct.
#[derive(Debug, Serialize)]
pub struct WrapInfo<'a> {
    /// The wrapping token.
    pub token: &'a str,
    /// Names it without being one.
    pub accessor: &'a str,
    /// In seconds.
    pub ttl: u64,
    /// RFC 3339.
    pub creation_time: String,
    /// The path whose answer is wrapped.
    pub creation_path: &'a str,
    /// The accessor of the token in the answer, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrapped_accessor: Option<&'a str>,
}

/// `sys/wrapping/lookup`
#[derive(Debug, Serialize)]
pub struct Wrapped<'a> {
    /// The path whose answer is wrapped.
    pub creation_path: &'a str,
    /// RFC 3339.
    pub creation_time: String,
    /// In seconds.
    pub creation_ttl: u64,
}

/// `sys/policies/acl/:name`
#[derive(Debug, Serialize)]
pub struct Policy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its text.
    pub policy: &'a str,
}

/// `keys`, list; never empty, since Vault says 404 then.
#[derive(Debug, Serialize)]
pub struct KeyList<'a> {
    /// Sorted.
    pub keys: &'a [&'a str],
}

/// `auth/token/lookup-self`
#[derive(Debug, Serialize)]
pub struct Token<'a> {
    /// Names the token without giving it away.
    pub accessor: &'a str,
    /// Networks; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_cidrs: Option<&'a [String]>,
    /// Unix time.
    pub creation_time: i64,
    /// In seconds.
    pub creation_ttl: i64,
    /// `token`, `root`, or the client's name.
    pub display_name: &'a str,
    /// Always empty.
    pub entity_id: &'a str,
    /// RFC 3339; null if never.
    pub expire_time: Option<String>,
    /// In seconds; 0 is none.
    pub explicit_max_ttl: i64,
    /// The token itself.
    pub id: &'a str,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue_time: Option<String>,
    /// RFC 3339; absent before the first renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<String>,
    /// Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_renewal_time: Option<i64>,
    /// Null if there is none.
    pub meta: Option<BTreeMap<String, String>>,
    /// 0 is any number.
    pub num_uses: i64,
    /// Whether it has no parent.
    pub orphan: bool,
    /// Where it was made, `auth/token/create`.
    pub path: &'a str,
    /// In seconds; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<i64>,
    /// Names.
    pub policies: &'a [&'a str],
    /// Absent for tokens without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewable: Option<bool>,
    /// The role that made it; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// Seconds left; 0 if it does not expire.
    pub ttl: i64,
    /// `service`
    #[serde(rename = "type")]
    pub token_type: &'a str,
}

/// The member `auth` of an envelope, in the order of Vault's struct.
#[derive(Debug, Serialize)]
pub struct Auth<'a> {
    /// The token itself: the seal client renews with what stands here, so never a placeholder.
    pub client_token: &'a str,
    /// Names the token without giving it away.
    pub accessor: &'a str,
    /// Names.
    pub policies: &'a [&'a str],
    /// The same, as there are no others.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub token_policies: &'a [&'a str],
    /// Null if there is none.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds left; above 0.
    pub lease_duration: i64,
    /// Whether the client should go on renewing.
    pub renewable: bool,
    /// Always empty.
    pub entity_id: &'a str,
    /// `service`
    pub token_type: &'a str,
    /// Whether it has no parent.
    pub orphan: bool,
    /// Always null.
    pub mfa_requirement: Option<()>,
    /// 0 is any number.
    pub num_uses: i64,
}

/// A mount, in `sys/mounts` and `sys/internal/ui/mounts`.
#[derive(Clone, Debug, Serialize)]
pub struct Mount<'a> {
    /// `<type>_<8 hex digits>`
    pub accessor: &'a str,
    /// Its limits.
    pub config: MountConfig<'a>,
    /// Free text.
    pub description: &'a str,
    /// Always false.
    pub external_entropy_access: bool,
    /// False for transit.
    pub local: bool,
    /// Null if there are none.
    pub options: Option<&'a BTreeMap<String, String>>,
    /// With final slash; only where a single mount is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// Always empty.
    pub plugin_version: &'a str,
    /// `v<version>+builtin.vault`
    pub running_plugin_version: &'a str,
    /// Always empty.
    pub running_sha256: &'a str,
    /// False for transit.
    pub seal_wrap: bool,
    /// `transit`, `system`, `token`, or a login method's.
    #[serde(rename = "type")]
    pub mount_type: &'a str,
    /// The mount's own.
    pub uuid: &'a str,
}

/// A mount's limits; 0 is the system's.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MountConfig<'a> {
    /// In seconds.
    pub default_lease_ttl: i64,
    /// Always false.
    pub force_no_cache: bool,
    /// `hidden` or `unauth`; absent if not set.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub listing_visibility: &'a str,
    /// In seconds.
    pub max_lease_ttl: i64,
    /// Which type of tokens it gives; only for login methods and `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
}

/// `sys/internal/ui/mounts`: what the token may see, or nothing.
#[derive(Debug, Default, Serialize)]
pub struct UiMounts<'a> {
    /// By path with final slash.
    pub auth: BTreeMap<&'a str, Mount<'a>>,
    /// By path with final slash.
    pub secret: BTreeMap<&'a str, Mount<'a>>,
}

/// `sys/seal-status`, in the order of Vault's struct.
#[derive(Debug, Serialize)]
pub struct SealStatus<'a> {
    /// Vault's name of the kind of seal.
    #[serde(rename = "type")]
    pub seal_type: &'a str,
    /// Always true.
    pub initialized: bool,
    /// Whether no key at all can be served.
    pub sealed: bool,
    /// Shares needed.
    pub t: u32,
    /// Shares there are.
    pub n: u32,
    /// Shares given.
    pub progress: u32,
    /// Empty.
    pub nonce: &'a str,
    /// A strict semantic version, as the Terraform provider insists.
    pub version: &'a str,
    /// RFC 3339.
    pub build_date: &'a str,
    /// Always false.
    pub migration: bool,
    /// Absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<&'a str>,
    /// Absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<&'a str>,
    /// True for every seal that unseals by itself.
    pub recovery_seal: bool,
    /// The storage backend's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_type: Option<&'a str>,
    /// What is not served although the rest is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
}

/// A node of `sys/ha-status`, in the order of Vault's struct.
#[derive(Debug, Serialize)]
pub struct HaNode<'a> {
    /// Its host.
    pub hostname: &'a str,
    /// The URL that clients are told.
    pub api_address: &'a str,
    /// Empty: replicas do not talk to each other.
    pub cluster_address: &'a str,
    /// Whether it answers requests itself.
    pub active_node: bool,
    /// RFC 3339; null for the node that answers.
    pub last_echo: Option<&'a str>,
    /// Always 0.
    pub echo_duration_ms: i64,
    /// Always 0.
    pub clock_skew_ms: i64,
    /// As `sys/health` says.
    pub version: &'a str,
}

/// `sys/leader`, in the order of Vault's struct: what a server that stands alone says.
#[derive(Debug, Serialize)]
pub struct Leader<'a> {
    /// Whether there can be a leader.
    pub ha_enabled: bool,
    /// Whether it is this server.
    pub is_self: bool,
    /// RFC 3339; Go's zero time if there is none.
    pub active_time: &'a str,
    /// Its address.
    pub leader_address: &'a str,
    /// Its address for the others.
    pub leader_cluster_address: &'a str,
    /// Always false.
    pub performance_standby: bool,
    /// Always 0.
    pub performance_standby_last_remote_wal: u64,
}

impl Leader<'_> {
    /// The answer of a server without a cluster.
    pub const ALONE: Leader<'static> = Leader {
        ha_enabled: false,
        is_self: false,
        active_time: ZERO_TIME,
        leader_address: "",
        leader_cluster_address: "",
        performance_standby: false,
        performance_standby_last_remote_wal: 0,
    };
}

/// `sys/init`
#[derive(Debug, Serialize)]
pub struct Init {
    /// Always true.
    pub initialized: bool,
}
