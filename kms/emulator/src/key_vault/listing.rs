//! Lists, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::failure::Failure;
use super::objects;
use super::{Call, Plan, keys};
use crate::reply::Reply;
use crate::world::vault::Vault;

pub(super) fn keys(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    vault.tend(call.now);
    let live = vault.keys.values().filter(|key| key.deleted_at.is_none());
    let items = live
        .filter_map(|key| Some(objects::item(vault, call, key, key.version(None)?, false)))
        .collect();
    page(vault, call, items)
}

pub(super) fn deleted(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    vault.tend(call.now);
    let deleted = vault.keys.values().filter(|key| key.deleted_at.is_some());
    let items = deleted.filter_map(|key| {
        let mut item = objects::item(vault, call, key, key.version(None)?, false);
        objects::with_deletion(&mut item, vault, call, key);
        Some(item)
    });
    let items = items.collect();
    page(vault, call, items)
}

pub(super) fn versions(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    keys::find(vault, call)?;
    let name = objects::name(call);
    let key = vault.keys.get(&name.to_ascii_lowercase());
    let key = key.ok_or_else(|| Failure::key_not_found(name, None))?;
    let items = key.versions.iter().map(|v| objects::item(vault, call, key, v, true)).collect();
    page(vault, call, items)
}

fn page(vault: &Vault, call: &Call<'_>, items: Vec<Value>) -> Result<Plan, Failure> {
    let wanted = match call.request.query("maxresults") {
        None => vault.settings.page_size,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=25).contains(n))
            .ok_or_else(|| Failure::bad("Parameter maxresults has invalid value\r\n"))?,
    };
    let from = match call.request.query("$skiptoken") {
        None => 0,
        Some(token) => read_token(token)
            .ok_or_else(|| Failure::bad("Parameter $skiptoken has invalid value\r\n"))?,
    };
    let size = wanted.min(vault.settings.page_size);
    let more = items.len() > from.saturating_add(size);
    let next = more.then(|| {
        format!(
            "{}{}?api-version={}&$skiptoken={}&maxresults={wanted}",
            objects::base(vault, call),
            call.request.path,
            call.request.query("api-version").unwrap_or_default(),
            URL_SAFE_NO_PAD.encode(format!("from:{}", from.saturating_add(size))),
        )
    });
    let value: Vec<Value> = items.into_iter().skip(from).take(size).collect();
    Ok(Plan::Done(Reply::ok(json!({ "value": value, "nextLink": next }))))
}

fn read_token(token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix("from:")?.parse().ok()
}
