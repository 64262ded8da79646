use serde_json::json;

use super::*;

fn well() -> Value {
    json!({
        "name": "weu", "type": "azurekeyvault", "healthy": true, "disabled": false,
        "encrypts": true, "described_by": "kms", "last_described": "2026-11-27T03:00:00Z",
        "last_fault": null, "advice": null, "trust_after_restart": "encrypts, by x",
        "current_version": "k/\u{1b}[2J1", "current_version_age_seconds": 400_000,
        "versions": 2, "all_versions_listed": true, "trusted_by": "confirmed by the KMS",
        "days_to_expiry": 90.0, "purgeable": false,
        "kms_calls": { "in_flight": 1, "waiting": 0, "limit": 64, "held_back": false,
                       "ended": { "ok": 12, "throttled": 0 }, "shared": 3 },
    })
}

fn told_of(backend: &Value) -> Report {
    told(&json!({ "time": "2026-11-27T03:00:12Z", "backends": [backend] }))
}

#[test]
fn a_seal_that_is_well_is_a_block_without_marks() {
    let expected = "weu (azurekeyvault): healthy\n  \
                    encrypts          yes\n  \
                    current version   k/[2J1\n  \
                    its age           4 d\n  \
                    expires           in 90 d\n  \
                    versions          2\n  \
                    last described    12 s ago\n  \
                    known from        kms\n  \
                    trusted because   confirmed by the KMS\n  \
                    restart, KMS away encrypts, by x\n  \
                    purge protection  on\n  \
                    Key Vault calls   1 in flight of 64, 0 waiting; 12 ok, 3 shared\n\
                    all well\n";
    let told = told_of(&well());
    assert_eq!((told.text.as_str(), told.in_need.len()), (expected, 0));
}

#[test]
fn a_staged_version_is_told_and_needs_no_attention() {
    let mut backend = well();
    backend["staged_version"] = json!("k/2");
    let told = told_of(&backend);
    assert!(told.text.contains("\n  staged version    k/2, not valid yet\n"), "{}", told.text);
    assert!(told.text.ends_with("all well\n") && told.in_need.is_empty());
}

#[test]
fn what_needs_attention_is_marked_and_named_at_the_end() {
    for (member, value, line) in [
        ("last_fault", json!("unavailable"), "! fault             unavailable"),
        ("last_fault_reason", json!("TCP at x: refused"), "! reason            TCP at x: refused"),
        ("advice", json!("mend it"), "! what to do        mend it"),
        ("encrypts", json!(false), "! encrypts          no"),
        ("decrypts", json!(false), "! decrypts          no"),
        ("versions_disabled", json!(1), "! disabled versions 1: what they wrapped does not open"),
        ("days_to_expiry", json!(7.0), "! expires           in 7 d"),
        ("days_to_expiry", json!(-3.0), "! expires           3 d ago"),
        ("healthy", json!(false), "! fault             not described yet"),
    ] {
        let mut backend = well();
        backend[member] = value;
        let Report { text, in_need } = told_of(&backend);
        assert_eq!(in_need, ["weu"], "{text}");
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
        assert_eq!(marked, [line]);
        assert!(text.ends_with("needs attention: weu\n"), "{text}");
    }
}

#[test]
fn a_seal_that_a_call_found_away_is_not_called_healthy_and_says_what_to_do() {
    let (mut silent, mut held_back) = (well(), well());
    silent["asked_last"] = json!(true);
    held_back["kms_calls"] = json!({ "held_back": true, "limit": 0 });
    for (backend, heading) in [(silent, "does not answer\n"), (held_back, "held back\n")] {
        let Report { text, in_need } = told_of(&backend);
        assert_eq!(in_need, ["weu"]);
        assert!(text.starts_with(&format!("weu (azurekeyvault): {heading}")), "{text}");
        let marked: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
        assert!(marked.len() == 2 && marked[0].starts_with("! what to do        "), "{text}");
        backend_is_told_anew(backend);
    }
}

/// What is learned of it takes the place of what a call found out.
fn backend_is_told_anew(mut backend: Value) {
    (backend["healthy"], backend["advice"]) = (json!(false), json!("mend it"));
    let text = told_of(&backend).text;
    assert!(text.starts_with("weu (azurekeyvault): unhealthy\n"), "{text}");
    assert_eq!(text.matches("what to do").count(), 1, "{text}");
}

#[test]
fn a_seal_that_is_silent_or_left_out_needs_attention() {
    let mut backend = well();
    backend["asked_last"] = json!(true);
    backend["left_out_of"] = json!(["transit/a", "transit/b"]);
    backend["left_out_since"] = json!("2026-11-27T02:00:12Z");
    let Report { text, in_need } = told_of(&backend);
    assert_eq!(in_need, ["weu"]);
    let marked: Vec<_> = text.lines().filter(|line| line.starts_with('!')).collect();
    assert_eq!(
        marked,
        [
            "! what to do        it is tried again by itself; if it lasts, the reason comes here \
             with the next poll, and is in the log",
            "! decrypts          it did not answer; others are asked before it",
            "! left out of       transit/a, transit/b for 60 min",
            "! what to do        see why it is away; the keys take it back when it is steadily \
             there",
        ]
    );
}

#[test]
fn what_is_revoked_is_told_and_what_opens_no_more_needs_attention() {
    let status = json!({
        "time": "2026-11-27T03:00:12Z",
        "backends": [well()],
        "revoked_seals": [{ "name": "old", "type": "static" }],
        "lost_versions": [{
            "key": "transit/k", "versions": "1 to 3", "seals": ["old"],
            "last_use": "2026-11-26T03:00:12Z", "advice": "bring it back",
        }],
    });
    let Report { text, in_need } = told(&status);
    assert_eq!(in_need, ["key transit/k"]);
    for line in [
        "  revoked seals     old",
        "! lost versions     transit/k version 1 to 3 can no longer be decrypted: made for old \
         alone, used 24 h ago",
        "! what to do        bring it back",
    ] {
        assert!(text.lines().any(|other| other == line), "{text}");
    }
}

#[test]
fn a_seal_that_is_disabled_need_not_encrypt() {
    let mut backend = well();
    (backend["disabled"], backend["encrypts"]) = (json!(true), json!(false));
    let Report { text, in_need } = told_of(&backend);
    assert!(in_need.is_empty() && text.contains("  encrypts          no, it is disabled\n"));
}

#[test]
fn a_state_that_is_missing_and_a_drill_that_failed_need_attention() {
    let status = json!({
        "time": "2026-11-27T03:00:12Z", "backends": [],
        "state": { "status": "sealed", "reason": "no seal opens", "advice": "mend it" },
        "drill": { "ok": false, "time": "2026-11-27T02:50:12Z", "failed_seals": ["weu"] },
    });
    let Report { text, in_need } = told(&status);
    assert_eq!(in_need, ["state", "drill"]);
    let expected = "server\n\
                    ! state             no seal opens\n\
                    ! what to do        mend it\n\
                    ! drill             FAILED, 10 min ago\n\
                    needs attention: state, drill\n";
    assert_eq!(text, expected);
}

fn server_of(member: &str, value: &Value) -> Report {
    told(&json!({ "time": "2026-11-27T03:00:12Z", "backends": [], member: value }))
}

#[test]
fn a_storage_that_is_away_or_does_not_take_writes_needs_attention() {
    let away = json!({ "up": false, "lag_seconds": 25, "writes_failing": false });
    let Report { text, in_need } = server_of("store", &away);
    assert_eq!(in_need, ["storage"]);
    assert!(text.contains("! storage           does not answer: keys are as they were 25 s"));
    let advice = "if \"s/x\" is not Selkie's, delete it";
    let spoilt = json!({ "up": true, "lag_seconds": 25, "advice": advice });
    let Report { text, .. } = server_of("store", &spoilt);
    assert!(text.contains(&format!("! what to do        {advice}\n")), "{text}");
    let full = json!({
        "up": false, "lag_seconds": 0, "writes_made": 6, "writes_failed": 54,
        "writes_failing": true, "last_write_failed": "2026-11-27T03:00:02Z",
    });
    let Report { text, in_need } = server_of("store", &full);
    assert_eq!(in_need, ["storage"]);
    assert!(text.contains("! writes            54 of 60 failed, the last 10 s ago\n"), "{text}");
    let well = json!({ "up": true, "lag_seconds": 0, "writes_failing": false });
    assert_eq!(server_of("store", &well).text, "all well\n");
}

#[test]
fn an_audit_device_that_is_down_needs_attention() {
    let devices = json!([{ "device": "full", "up": false }, { "device": "disk", "up": true }]);
    let Report { text, in_need } = server_of("audit", &devices);
    assert_eq!(in_need, ["audit device full"]);
    assert!(text.contains("! audit device      full does not take its lines\n"), "{text}");
    assert!(text.contains("1 of 2 work") && !text.contains("disk does not"), "{text}");
    assert_eq!(server_of("audit", &json!([{ "device": "x", "up": true }])).text, "all well\n");
}

#[test]
fn a_token_of_a_seal_that_ends_or_has_ended_needs_attention() {
    for (left, ends) in [(40, "ends in 40 s"), (0, "has ended")] {
        let token = json!({ "display_name": "eu", "accessor": "a", "expiring": true, "ttl": left });
        let Report { text, in_need } = server_of("tokens_in_use", &json!([token]));
        assert_eq!(in_need, ["token eu"]);
        assert!(text.contains(&format!("! runs out          eu (accessor a) {ends}\n")), "{text}");
    }
}

#[test]
fn a_launch_process_that_has_ended_needs_attention() {
    let ended = json!({ "reason": "it has ended", "advice": "restart Selkie" });
    let Report { text, in_need } = server_of("hsm_launches", &ended);
    assert_eq!(in_need, ["HSM processes"]);
    assert!(text.contains("! HSM processes     it has ended\n"), "{text}");
    assert!(text.contains("! what to do        restart Selkie\n"), "{text}");
}

#[test]
fn versions_in_use_are_told_by_client_or_why_they_are_not() {
    let with = |evidence: Value| {
        let now = "2026-11-27T03:00:00Z";
        told(&json!({ "time": now, "backends": [], "aged_decrypts": evidence })).text
    };
    let one = json!({ "client": "vault-eu", "key": "transit/unseal", "version": 2,
                      "last": "2026-11-27T02:00:00Z" });
    let table = "last use of stored ciphertexts, which proves no version unused:\n  \
                 vault-eu          transit/unseal v2, 60 min ago\nall well\n";
    assert_eq!(with(json!([one])), table);
    assert!(with(json!([])).starts_with("last use of stored ciphertexts: none seen"));
    assert!(with(Value::Null).contains("not kept, as no origin_key is declared"));
}

#[test]
fn ages_are_by_the_servers_clock_and_in_the_unit_that_fits() {
    let mut backend = well();
    backend["healthy"] = json!(false);
    backend["unhealthy_since"] = json!("2026-11-27T02:50:00Z");
    let text = told_of(&backend).text;
    assert!(text.starts_with("weu (azurekeyvault): unhealthy for 10 min\n"), "{text}");
    let spans = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, -5].map(span);
    assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "0 s"]);
}

#[test]
fn a_store_that_was_tampered_with_has_one_advice() {
    let once = "restart";
    let status = json!({
        "time": "2026-11-27T03:00:12Z", "backends": [],
        "state": { "status": "refused", "reason": "tampered", "advice": once },
        "store": { "up": true, "lag_seconds": 7, "advice": once },
    });
    let Report { text, .. } = told(&status);
    assert!(text.contains("! storage           is not followed"), "{text}");
    assert_eq!(text.matches("what to do").count(), 1, "{text}");
}

#[test]
fn a_state_key_that_is_behind_its_seals_needs_attention() {
    let state = |behind: Value| json!({"state": {"status": "open", "key_behind": behind}});
    assert_eq!(told(&state(Value::Null)).in_need, [""; 0]);
    let behind = json!({"lacking": ["weu"], "waits_for": ["neu"], "advice": "mend it"});
    let Report { text, in_need } = told(&state(behind));
    assert_eq!(in_need, ["state key"]);
    for line in [
        "! state key         not made for weu as it is now: waits for neu",
        "! what to do        mend it",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
