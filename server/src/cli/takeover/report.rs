//! What a server says of its takeovers, for people.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::members::{age, flag, number, time, word};

/// What no server sees. Silence permits nothing, so this stands below whatever is said.
const NOT_SEEN: &str = "\
What cannot be seen from here, whatever stands above:
  - snapshots and backups of a Vault keep ciphertexts of the old server for as long as they are kept
  - a Vault opens its stored keys when it unseals or becomes active, perhaps once a year; one that has not
    since the takeover shows nothing
  - nodes that are down, and standby nodes until they have caught up with the storage of the active one
  - Vaults before 1.3 never re-encrypt what they have stored
  - whatever else the old key has encrypted: seal-wrapped records of Vault Enterprise, files, other
    programs' data; and clients that still go to the old server itself
Whether the old server may go is yours to decide; keep its key, or a backup of it, until you are sure.
";

/// The text, and whether something has to be mended.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) text: String,
    pub(super) needs_attention: bool,
}

/// A block of lines for each key that is taken over, and what cannot be seen.
pub(super) fn report(data: &Value) -> Report {
    let mut report = Report { text: String::new(), needs_attention: false };
    let takeovers = data["takeovers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if takeovers.is_empty() {
        report.line(format_args!("no key takes anything over: there is no \"takeover\" stanza"));
        return report;
    }
    let now = time(data, "time").unwrap_or_else(Timestamp::now);
    for one in takeovers {
        report.takeover(one, now, flag(data, "is_age_proven") == Some(true));
    }
    let place = match word(data, "kept_in").as_deref() {
        Some("storage") => "in the storage, by all replicas together",
        Some("data_dir") => "in data_dir, by this replica alone",
        _ => "in the memory of this replica alone: a restart forgets it",
    };
    let since = time(data, "started").map(|time| age(time, now)).unwrap_or_default();
    report.line(format_args!("evidence is kept {place} (started {since} ago)\n"));
    report.text.push_str(NOT_SEEN);
    report
}

impl Report {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{text}");
    }

    fn takeover(&mut self, one: &Value, now: Timestamp, is_age_proven: bool) {
        let [key, server] = ["key", "old_server"].map(|name| word(one, name).unwrap_or_default());
        self.line(format_args!("{key} takes over {server}"));
        self.versions(one);
        self.old_server(one, now);
        let clients = one["clients"].as_array().map(Vec::as_slice).unwrap_or_default();
        if clients.is_empty() {
            self.line(format_args!("  no client has opened anything yet: there is no evidence\n"));
            return;
        }
        for client in clients {
            self.client(client, now);
        }
        self.evidence(clients, is_age_proven);
    }

    fn versions(&mut self, one: &Value) {
        let ours = word(one, "version").unwrap_or_else(|| "not counted yet".to_owned());
        let old = match (word(one, "old_version"), word(one, "old_version_source").as_deref()) {
            (Some(old), Some("declared")) => format!("{old}, as declared"),
            (Some(old), Some("read")) => format!("{old}, as the old server says"),
            (Some(old), _) => format!("{old} at least, the highest that was opened"),
            (None, _) => "unknown: declare last_version, or let the token read the key".to_owned(),
        };
        let is_low = flag(one, "reencrypts") == Some(false);
        let mark = if is_low { '!' } else { ' ' };
        self.line(format_args!("{mark} version           {ours}; of the old key: {old}"));
        if is_low {
            self.needs_attention = true;
            self.line(format_args!(
                "! what to do        raise the key's \"generation\" (or \"version\") above the old \
                 one, or no Vault moves"
            ));
        }
    }

    fn old_server(&mut self, one: &Value, now: Timestamp) {
        let answered = time(one, "last_answered").map(|time| format!("{} ago", age(time, now)));
        let answered = answered.unwrap_or_else(|| "never".to_owned());
        let fault = word(one, "fault");
        let mark = if fault.is_some() { '!' } else { ' ' };
        let fault_text = fault.as_ref().map(|fault| format!("; now: {fault}")).unwrap_or_default();
        self.line(format_args!("{mark} old server        answered {answered}{fault_text}"));
        if fault.is_some() {
            self.needs_attention = true;
            let advice = word(one, "advice").unwrap_or_default();
            self.line(format_args!("! what to do        {advice}"));
        }
    }

    fn client(&mut self, client: &Value, now: Timestamp) {
        let opened = |member: &str, count: &str, nothing: &str| {
            let last = &client[member];
            let Some(time) = time(last, "time") else { return nothing.to_owned() };
            let version = word(last, "version").unwrap_or_default();
            format!("v{version}, {} ago ({} in all)", age(time, now), number(client, count))
        };
        let name = word(client, "client").unwrap_or_default();
        self.line(format_args!("  client {name}"));
        let old = opened("last_foreign", "foreign", "none seen");
        self.line(format_args!("    last of the old server   {old}"));
        let own = opened("last_own", "own", "none seen");
        self.line(format_args!("    last of Selkie's own     {own}"));
    }

    fn evidence(&mut self, clients: &[Value], is_age_proven: bool) {
        let (ours, others): (Vec<_>, Vec<_>) =
            clients.iter().partition(|client| flag(client, "speaks_for_us") == Some(true));
        let names = |clients: &[&Value]| {
            let names = clients.iter().filter_map(|client| word(client, "client"));
            names.collect::<Vec<_>>().join(", ")
        };
        if !ours.is_empty() {
            self.line(format_args!(
                "  speaks for its being needed no more: after the last of the old server these have \
                 opened\n    envelopes of Selkie's that they had stored: {}",
                names(&ours)
            ));
        }
        if !others.is_empty() {
            self.line(format_args!("  speaks for nothing yet: {}", names(&others)));
        }
        if !is_age_proven {
            self.line(format_args!(
                "  without an origin_key nothing proves that an envelope was stored before it was \
                 opened"
            ));
        }
        self.line(format_args!(""));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data() -> Value {
        json!({
            "takeovers": [{
                "key": "transit/autounseal", "old_server": "https://old:8200/transit/unseal",
                "version": 10_001, "old_version": 3, "old_version_source": "read",
                "reencrypts": true, "last_answered": "2026-11-27T02:59:00Z", "fault": null,
                "clients": [{
                    "client": "vault-eu", "foreign": 4, "own": 2, "speaks_for_us": true,
                    "last_foreign": { "time": "2026-11-27T01:00:00Z", "version": 3 },
                    "last_own": { "time": "2026-11-27T02:58:20Z", "version": 10_001 },
                }, {
                    "client": "vault-us\u{1b}", "foreign": 1, "own": 0, "speaks_for_us": false,
                    "last_foreign": { "time": "2026-11-27T02:00:00Z", "version": 2 },
                    "last_own": null,
                }],
            }],
            "kept_in": "storage", "is_age_proven": true,
            "started": "2026-11-27T00:00:00Z", "time": "2026-11-27T03:00:00Z",
        })
    }

    #[test]
    fn each_client_is_told_with_its_last_of_both_and_what_cannot_be_seen() {
        let Report { text, needs_attention } = report(&data());
        assert!(!needs_attention, "{text}");
        for line in [
            "transit/autounseal takes over https://old:8200/transit/unseal\n",
            "version           10001; of the old key: 3, as the old server says\n",
            "old server        answered 60 s ago\n",
            "client vault-eu\n    last of the old server   v3, 2 h ago (4 in all)\n",
            "last of Selkie's own     v10001, 100 s ago (2 in all)\n",
            "client vault-us\n    last of the old server   v2, 60 min ago (1 in all)\n",
            "last of Selkie's own     none seen\n",
            "that they had stored: vault-eu\n",
            "speaks for nothing yet: vault-us\n",
            "in the storage, by all replicas together",
            "snapshots and backups",
            "standby nodes",
            "Vaults before 1.3",
            "yours to decide",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn it_never_says_that_the_old_server_may_go() {
        let mut all_well = data();
        all_well["takeovers"][0]["clients"].as_array_mut().unwrap().truncate(1);
        let text = report(&all_well).text;
        assert!(text.contains(NOT_SEEN));
        for claim in ["is needed no more", "can be removed", "may go.", "is safe", "all well"] {
            assert!(!text.contains(claim), "{claim} in {text}");
        }
    }

    #[test]
    fn a_version_that_is_not_above_and_an_old_server_in_trouble_need_attention() {
        let mut low = data();
        low["takeovers"][0]["reencrypts"] = json!(false);
        let told = report(&low);
        assert!(told.needs_attention && told.text.contains("! what to do        raise the key's"));
        let mut away = data();
        away["takeovers"][0]["fault"] = json!("unavailable");
        away["takeovers"][0]["advice"] = json!("start it");
        let told = report(&away);
        assert!(told.needs_attention && told.text.contains("! what to do        start it\n"));
    }

    #[test]
    fn without_clients_there_is_no_evidence_and_without_a_takeover_nothing() {
        let mut nobody = data();
        nobody["takeovers"][0]["clients"] = json!([]);
        assert!(report(&nobody).text.contains("there is no evidence"));
        let text = report(&json!({ "takeovers": [] })).text;
        assert!(text.starts_with("no key takes anything over"), "{text}");
    }
}
