//! `sys/auth`: where login methods are mounted.

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::{Capability, MountPath};

use super::transit::denied;
use crate::api::RUNNING_PLUGIN_VERSION;
use crate::api::call::{Call, Refusal};
use crate::api::data::{Mount, MountConfig};
use crate::api::duration::{fault_text, parse_seconds};
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::api::route::{AuthMountPath, AuthMountsPath, MountAction};
use crate::auth::methods::mounts::{MountProblem, NewMount, SYSTEM_SECONDS, mount_path};
use crate::auth::methods::{AuthMount, AuthTable, MethodError, Tune};
use crate::auth::tokens::GivenTokenType;
use crate::stable_uuid::stable_uuid;

/// `sys/auth`
pub(super) fn list(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/auth", Capability::Read).map_err(denied)?;
    let shown = Shown::all(call);
    let mounts: Vec<_> = shown.iter().map(|one| (&*one.path, one.wire(None))).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data_twice(&mounts))
}

/// `sys/auth/:path`, `sys/auth/:path/tune` and `sys/mounts/auth/:path/tune`. Vault asks for `sudo` below
/// `sys/auth`, and not below `sys/mounts`.
pub(super) async fn answer(
    call: &Call<'_>,
    at: AuthMountPath,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let capability = match at.action {
        MountAction::Read | MountAction::ReadTune => Capability::Read,
        MountAction::Enable | MountAction::Tune => Capability::Update,
        MountAction::Disable => Capability::Delete,
    };
    let path = at.path();
    let acl = call.acl(&fields);
    let _permit = acl.check(&path, capability).map_err(denied)?;
    let _sudo = match at.below {
        AuthMountsPath::Auth => Some(acl.check(&path, Capability::Sudo).map_err(denied)?),
        AuthMountsPath::Mounts => None,
    };
    match at.action {
        MountAction::Read => read(call, &at.path, fields),
        MountAction::ReadTune => read_tune(call, &at.path, fields),
        MountAction::Enable => enable(call, &at.path, fields).await,
        MountAction::Disable => disable(call, &at.path).await,
        MountAction::Tune => tune(call, &at.path, fields).await,
    }
}

fn read(call: &Call<'_>, path: &str, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let shown = Shown::at(call, path, |path| MountProblem::NoMount { path })?;
    let warnings = fields.into_warnings(&["path"]);
    Ok(call.frame(&warnings).data_twice_of(&shown.wire(None)))
}

fn read_tune(call: &Call<'_>, path: &str, fields: Fields<'_>) -> Result<Reply, Refusal> {
    #[derive(serde::Serialize)]
    struct Tuned<'a> {
        default_lease_ttl: i64,
        description: &'a str,
        force_no_cache: bool,
        #[serde(skip_serializing_if = "str::is_empty")]
        listing_visibility: &'a str,
        max_lease_ttl: i64,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        options: &'a BTreeMap<String, String>,
        token_type: &'static str,
    }
    let missing = |path| MountProblem::NoView { path };
    let shown = Shown::at(call, path, missing)?;
    let or_systems = |own: i64| if own == 0 { seconds(SYSTEM_SECONDS) } else { own };
    let tuned = Tuned {
        default_lease_ttl: or_systems(seconds(shown.tune.default_lease_ttl)),
        description: &shown.description,
        force_no_cache: false,
        listing_visibility: &shown.tune.listing_visibility,
        max_lease_ttl: or_systems(seconds(shown.tune.max_lease_ttl)),
        options: &shown.tune.options,
        token_type: shown.tune.token_type.name(),
    };
    let warnings = fields.into_warnings(&["path"]);
    Ok(call.frame(&warnings).data_twice_of(&tuned))
}

async fn enable(call: &Call<'_>, path: &str, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let path = mount_path(path).map_err(refused)?;
    refuse_declared(call, &path)?;
    let text = |fields: &mut Fields<'_>, field| {
        fields.text(field).map(|text| text.unwrap_or_default().into_owned()).map_err(ApiError::from)
    };
    let kind = text(&mut fields, "type")?;
    let mut plugin_name = text(&mut fields, "plugin_name")?;
    let description = text(&mut fields, "description")?;
    let mut tune = Tune {
        local: fields.bool("local").map_err(ApiError::from)?.unwrap_or_default(),
        seal_wrap: fields.bool("seal_wrap").map_err(ApiError::from)?.unwrap_or_default(),
        ..Tune::default()
    };
    if let Some(mut config) = fields.object("config").map_err(ApiError::from)? {
        let unparsed = |which, value, reason| MountProblem::NewTtl { which, value, reason };
        Changes::decode(&mut config, unparsed)?.apply(&mut tune);
        let own = text(&mut config, "plugin_name")?;
        plugin_name = if own.is_empty() { plugin_name } else { own };
    }
    let kind = match kind.as_str() {
        "" => return Err(refused(MountProblem::NoKind)),
        "plugin" if plugin_name.is_empty() => return Err(refused(MountProblem::NoPluginName)),
        "plugin" => plugin_name,
        _ => kind,
    };
    tune.options = fields.pairs("options").map_err(ApiError::from)?.unwrap_or_default();
    let auth = call.node.auth();
    let mount = NewMount { path, kind, description, tune };
    auth.methods().enable(table(call), auth.tools(), mount).await.map_err(Refusal::from)?;
    Ok(Reply::no_content())
}

fn refused(problem: MountProblem) -> Refusal {
    MethodError::refused(problem).into()
}

/// Vault says nothing about a mount that is not there.
async fn disable(call: &Call<'_>, path: &str) -> Result<Reply, Refusal> {
    if path == "token" {
        return Err(refused(MountProblem::TokenPath));
    }
    let Ok(path) = path.parse::<MountPath>() else { return Ok(Reply::no_content()) };
    refuse_declared(call, &path)?;
    let auth = call.node.auth();
    if let Some(mount) = auth.methods().taint(auth.tools(), &path).await.map_err(Refusal::from)? {
        auth.unmount(&mount).await.map_err(Refusal::from)?;
    }
    Ok(Reply::no_content())
}

async fn tune(call: &Call<'_>, path: &str, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let changes = Changes::decode(&mut fields, |_, _, reason| MountProblem::Ttl { reason })?;
    if path == "token" {
        return Err(refused(match changes.token_type {
            Some(_) => MountProblem::TokenTypeOfTokens,
            None => MountProblem::TuneOfTokens,
        }));
    }
    let path: MountPath = mount_path(path).map_err(refused)?;
    refuse_declared(call, &path)?;
    let auth = call.node.auth();
    let change = |mount: &mut AuthMount| {
        changes.apply(&mut mount.tune);
        if let Some(description) = &changes.description {
            mount.description.clone_from(description);
        }
    };
    auth.methods().tune(auth.tools(), &path, change).await.map_err(Refusal::from)?;
    Ok(Reply::no_content())
}

fn refuse_declared(call: &Call<'_>, path: &MountPath) -> Result<(), Refusal> {
    let declared = call.deployment.auth_mounts.iter().find(|mount| mount.path == *path);
    match declared.and_then(|mount| mount.declared_at()) {
        Some(at) => {
            let (what, at) = (format!("auth method \"{path}\""), at.to_owned());
            Err(MethodError::Declared { what, at }.into())
        }
        None => Ok(()),
    }
}

/// What a request sets of a mount; what is absent stays.
#[derive(Default)]
struct Changes {
    default_lease_ttl: Option<u64>,
    max_lease_ttl: Option<u64>,
    description: Option<String>,
    listing_visibility: Option<String>,
    token_type: Option<GivenTokenType>,
    options: Option<BTreeMap<String, String>>,
}

impl Changes {
    /// `unparsed` is what is said of a time that is none: which it is, its text, and why.
    fn decode(fields: &mut Fields<'_>, unparsed: Unparsed) -> Result<Self, Refusal> {
        // Known to Vault, and without effect here.
        let ignored = [
            "audit_non_hmac_request_keys",
            "audit_non_hmac_response_keys",
            "passthrough_request_headers",
            "allowed_response_headers",
        ];
        for ignored in ignored {
            fields.list(ignored).map_err(ApiError::from)?;
        }
        fields.bool("force_no_cache").map_err(ApiError::from)?;
        let mut lease =
            |field, which| lease(fields, field, |value, why| unparsed(which, value, why));
        let default_lease_ttl = lease("default_lease_ttl", "default")?;
        let max_lease_ttl = lease("max_lease_ttl", "max")?;
        let token_type =
            fields.text("token_type").map_err(ApiError::from)?.map(|name| match &*name {
                "" => Ok(GivenTokenType::default()),
                name => GivenTokenType::named(name).ok_or_else(|| refused(MountProblem::TokenType)),
            });
        let listing_visibility = fields.text("listing_visibility").map_err(ApiError::from)?;
        let listing_visibility = listing_visibility.map(|name| match &*name {
            "" | "hidden" | "unauth" => Ok(name.into_owned()),
            _ => Err(refused(MountProblem::Visibility { name: name.into_owned() })),
        });
        Ok(Self {
            default_lease_ttl,
            max_lease_ttl,
            description: fields.text("description").map_err(ApiError::from)?.map(Into::into),
            token_type: token_type.transpose()?,
            listing_visibility: listing_visibility.transpose()?,
            options: fields.pairs("options").map_err(ApiError::from)?,
        })
    }

    fn apply(&self, tune: &mut Tune) {
        let Self { default_lease_ttl, max_lease_ttl, listing_visibility, token_type, .. } = self;
        tune.default_lease_ttl = default_lease_ttl.unwrap_or(tune.default_lease_ttl);
        tune.max_lease_ttl = max_lease_ttl.unwrap_or(tune.max_lease_ttl);
        tune.token_type = token_type.unwrap_or(tune.token_type);
        if let Some(visibility) = listing_visibility {
            tune.listing_visibility.clone_from(visibility);
        }
        if let Some(options) = &self.options {
            tune.options.clone_from(options);
        }
    }
}

/// What is said of a time that is none.
type Unparsed = fn(&'static str, String, String) -> MountProblem;

/// In seconds; `system` is the system's own, and an empty text is as none.
fn lease(
    fields: &mut Fields<'_>,
    field: &'static str,
    unparsed: impl Fn(String, String) -> MountProblem,
) -> Result<Option<u64>, Refusal> {
    let text = fields.text(field).map_err(ApiError::from)?;
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text == "system" {
        return Ok(Some(0));
    }
    let wrong = |reason| refused(unparsed(text.clone().into_owned(), reason));
    let seconds = parse_seconds(&text).map_err(|problem| wrong(fault_text(problem, &text)))?;
    // Vault takes it, and its tokens then live for less than no time.
    let negative = |_negative| wrong(format!("cannot provide negative value '{seconds}'"));
    u64::try_from(seconds).map(Some).map_err(negative)
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) fn table<'a>(call: &'a Call<'_>) -> AuthTable<'a> {
    AuthTable { declared: &call.deployment.auth_mounts, methods: call.node.auth().methods() }
}

/// A mount as the wire shows it.
pub(super) struct Shown {
    pub(super) path: String,
    accessor: String,
    kind: Box<str>,
    description: String,
    tune: Tune,
    uuid: String,
}

impl Shown {
    /// All mounts, `token/` among them, by path.
    pub(super) fn all(call: &Call<'_>) -> Vec<Self> {
        let mut all: Vec<_> = table(call).all().iter().map(Self::of).collect();
        all.push(Self::token());
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }

    fn at(
        call: &Call<'_>,
        path: &str,
        missing: impl Fn(String) -> MountProblem,
    ) -> Result<Self, Refusal> {
        if path == "token" {
            return Ok(Self::token());
        }
        let found = table(call).at(path);
        found.as_ref().map(Self::of).ok_or_else(|| refused(missing(path.to_owned())))
    }

    fn of(mount: &Arc<AuthMount>) -> Self {
        Self {
            path: format!("{}/", mount.path),
            accessor: mount.accessor.clone(),
            kind: mount.kind.clone(),
            description: mount.description.clone(),
            tune: mount.tune.clone(),
            uuid: mount.uuid.to_string(),
        }
    }

    fn token() -> Self {
        let uuid = stable_uuid("mount", "auth/token");
        let digits = uuid.simple().to_string();
        Self {
            path: "token/".to_owned(),
            accessor: format!("auth_token_{}", digits.get(..8).unwrap_or_default()),
            kind: "token".into(),
            description: "token based credentials".to_owned(),
            tune: Tune::default(),
            uuid: uuid.to_string(),
        }
    }

    /// Whoever may do anything below the mount sees it.
    pub(super) fn is_visible_to(&self, call: &Call<'_>) -> bool {
        let path = format!("auth/{}", self.path.trim_end_matches('/'));
        path.parse().is_ok_and(|path| call.client.acl.reaches_mount(&path))
    }

    pub(super) fn wire<'a>(&'a self, path: Option<&'a str>) -> Mount<'a> {
        Mount {
            accessor: &self.accessor,
            config: MountConfig {
                default_lease_ttl: seconds(self.tune.default_lease_ttl),
                force_no_cache: false,
                listing_visibility: &self.tune.listing_visibility,
                max_lease_ttl: seconds(self.tune.max_lease_ttl),
                token_type: Some(self.tune.token_type.name()),
            },
            description: &self.description,
            external_entropy_access: false,
            local: self.tune.local,
            options: (!self.tune.options.is_empty()).then_some(&self.tune.options),
            path,
            plugin_version: "",
            running_plugin_version: RUNNING_PLUGIN_VERSION,
            running_sha256: "",
            seal_wrap: self.tune.seal_wrap,
            mount_type: &self.kind,
            uuid: &self.uuid,
        }
    }
}
