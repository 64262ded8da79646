//! Managed identity by both protocols.

use serde_json::{Value, json};

use crate::client::{Answer, Emulator, TENANT, VAULT};

const IMDS: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01";
const METADATA: &[(&str, &str)] = &[("metadata", "true")];

async fn imds(e: &Emulator, more: &str) -> Answer {
    e.http("GET", &format!("{IMDS}&resource={VAULT}{more}"), METADATA, b"").await
}

#[tokio::test]
async fn imds_gives_a_token_that_key_vault_takes_with_expires_on_as_text() {
    let e = Emulator::new().await;
    let token = imds(&e, "").await.ok();
    let now = e.set("GET", "clock", Value::Null).await["now"].as_i64().unwrap();
    let expires: i64 = token["expires_on"].as_str().unwrap().parse().unwrap();
    assert!((86_390..=86_400).contains(&(expires - now)), "{expires} {now}");
    assert_eq!((&token["resource"], &token["token_type"]), (&json!(VAULT), &json!("Bearer")));
    let token = token["access_token"].as_str().unwrap();
    assert_eq!(e.vault_as(token, "GET", "/keys/selkie", Value::Null).await.status, 200);
}

#[tokio::test]
async fn imds_keeps_a_token_for_half_its_life_and_says_how_long_it_lived_when_it_was_new() {
    let e = Emulator::new().await;
    let advance = async |seconds: i64| {
        e.set("POST", "clock", json!({ "advance_seconds": seconds })).await;
        imds(&e, "").await.ok()
    };
    let first = advance(0).await;
    assert_eq!(advance(43_000).await, first, "\"expires_in\" too");
    assert_eq!(first["expires_in"], "86400");
    let second = advance(200).await;
    assert_ne!(second["access_token"], first["access_token"]);
    e.set("POST", "tokens/revoke", Value::Null).await;
    assert_ne!(advance(0).await["access_token"], second["access_token"]);
}

#[tokio::test]
async fn imds_refuses_what_the_real_one_refuses() {
    let e = Emulator::new().await;
    let get = async |query: &str, headers: &[(&str, &str)]| {
        let path = format!("/metadata/identity/oauth2/token?{query}");
        e.http("GET", &path, headers, b"").await.status
    };
    let good = format!("api-version=2018-02-01&resource={VAULT}");
    assert_eq!(get(&good, METADATA).await, 200);
    assert_eq!(get(&good, &[]).await, 400);
    assert_eq!(get(&good, &[("metadata", "true"), ("x-forwarded-for", "1.2.3.4")]).await, 400);
    assert_eq!(get(&format!("resource={VAULT}"), METADATA).await, 400);
    assert_eq!(get("api-version=2018-02-01", METADATA).await, 400);
    assert_eq!(
        e.http("POST", &format!("/metadata/identity/oauth2/token?{good}"), METADATA, b"")
            .await
            .status,
        405
    );
    assert_eq!(e.http("GET", "/latest/meta-data", METADATA, b"").await.status, 404);
}

#[tokio::test]
async fn an_identity_is_found_by_each_id_and_never_guessed_among_several() {
    let e = Emulator::of(&json!({ "identities": [{ "name": "a" }, { "name": "b" }] })).await;
    let all = e.set("GET", "identities", Value::Null).await;
    for (query, field) in
        [("client_id", "client_id"), ("object_id", "object_id"), ("msi_res_id", "resource_id")]
    {
        let wanted = all[1][field].as_str().unwrap();
        let token = imds(&e, &format!("&{query}={wanted}")).await.ok();
        assert_eq!(token["client_id"], all[1]["client_id"], "{query}");
    }
    let text = |answer: Answer| {
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"], "invalid_request");
        answer.json()["error_description"].as_str().unwrap().to_owned()
    };
    assert!(text(imds(&e, "").await).starts_with("Multiple user assigned identities exist"));
    assert_eq!(text(imds(&e, "&client_id=x").await), "Identity not found");
    e.set("DELETE", "identities/a", Value::Null).await;
    assert_eq!(imds(&e, "").await.status, 200, "the only one that is left");
    e.set("DELETE", "identities/b", Value::Null).await;
    assert_eq!(text(imds(&e, "").await), "Identity not found");
}

#[tokio::test]
async fn app_service_wants_its_header() {
    let e = Emulator::new().await;
    let path = format!("/msi/token?api-version=2019-08-01&resource={VAULT}");
    let get =
        async |header: &str| e.http("GET", &path, &[("x-identity-header", header)], b"").await;
    assert_eq!(get("wrong").await.status, 401);
    assert!(get("emulator-header").await.ok()["expires_on"].is_string());
    e.set("PATCH", "settings", json!({ "app_service_header": "other" })).await;
    assert_eq!(get("emulator-header").await.status, 401);
}

/// What a token says, and what the published keys say of it.
async fn verified(e: &Emulator, token: &str) -> Value {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let decode = |text: &Value| URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap();
    let get =
        async |path: &str| e.https("login.emulator.test", "GET", path, &[], b"").await.unwrap();
    let found = get(&format!("/{TENANT}/.well-known/openid-configuration")).await.ok();
    let keys_at = found["jwks_uri"].as_str().unwrap().split_once(TENANT).unwrap().1.to_owned();
    let set = get(&format!("/{TENANT}{keys_at}")).await.ok();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(&json!(header))).unwrap();
    let claims: Value = serde_json::from_slice(&decode(&json!(claims))).unwrap();
    let key = &set["keys"][0];
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &key["kid"]));
    RsaPublicKeyComponents { n: decode(&key["n"]), e: decode(&key["e"]) }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(&json!(signature)))
        .unwrap();
    assert_eq!(claims["iss"], found["issuer"]);
    claims
}

#[tokio::test]
async fn tokens_verify_under_the_published_keys_and_say_whose_identity_they_are() {
    let machine = "/subscriptions/s/resourcegroups/g/providers/Microsoft.Compute/virtualMachines/m";
    let e = Emulator::of(&json!({ "identities": [
        { "name": "vm", "system_assigned": true },
        { "name": "shared", "client_id": "c-shared", "machine_id": machine },
    ] }))
    .await;
    let own = imds(&e, "").await.ok();
    let own = verified(&e, own["access_token"].as_str().unwrap()).await;
    assert!(own["xms_mirid"].as_str().unwrap().ends_with("Microsoft.Compute/virtualMachines/vm"));
    assert_eq!((own.get("xms_az_rid"), &own["sub"]), (None, &own["oid"]));
    let shared = imds(&e, "&client_id=c-shared").await.ok();
    let shared = verified(&e, shared["access_token"].as_str().unwrap()).await;
    assert!(shared["xms_mirid"].as_str().unwrap().ends_with("userAssignedIdentities/shared"));
    assert_eq!(shared["xms_az_rid"], machine);
}
