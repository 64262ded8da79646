use std::sync::Arc;

use selkie_config::{AzureConfig, DeclaredMethod};
use serde_json::{Value, json};

use super::*;
use crate::auth::configured::tests::{Bench, refusal};
use crate::auth::jwt::tests::signer::{NOW, Signer};
use crate::auth::jwt::tests::world::World;

const TENANT: &str = "7e3a0000-0000-4000-8000-000000000001";
const BASE: &str = "https://login.microsoftonline.com/7e3a0000-0000-4000-8000-000000000001";
const ISSUER: &str = "https://sts.windows.net/7e3a0000-0000-4000-8000-000000000001/";
const VM: &str =
    "/subscriptions/s-1/resourcegroups/prod/providers/Microsoft.Compute/virtualMachines/seal-1";
const VMSS: &str = "/subscriptions/s-1/resourceGroups/Prod/providers/Microsoft.Compute/virtualMachineScaleSets/web";
const IDENTITY: &str = "/subscriptions/s-1/resourcegroups/prod/providers/Microsoft.ManagedIdentity/\
                        userAssignedIdentities/shared";

fn claims(more: &Value) -> Value {
    let mut claims = json!({
        "aud": "https://selkie.example", "iss": ISSUER, "iat": NOW, "nbf": NOW, "exp": NOW + 3600,
        "oid": "o-1", "appid": "a-1", "tid": TENANT, "sub": "o-1",
    });
    for (claim, value) in more.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    claims
}

struct Entra {
    bench: Bench<Azure>,
    signer: Signer,
}

impl Entra {
    async fn new() -> Self {
        let (world, signer) = (World::default(), Signer::new("k", Algorithm::RS256));
        let found = json!({ "issuer": ISSUER, "jwks_uri": "https://login.microsoftonline.com/common/keys" });
        world.answers(&format!("{BASE}/.well-known/openid-configuration"), found.to_string());
        world.answers("https://login.microsoftonline.com/common/keys", Signer::set(&[&signer]));
        let way = Azure::new(KeySources::new(Arc::new(world)));
        let nothing = DeclaredMethod::Azure(AzureConfig::default(), Vec::new());
        let bench = Bench::managed(way, nothing).await;
        let config = json!({ "tenant_id": TENANT, "resource": "https://selkie.example" });
        bench.write("config", config).await.unwrap();
        Self { bench, signer }
    }

    async fn log_in(
        &self,
        role: Value,
        claimed: Value,
        more: Value,
    ) -> Result<Login, (AnswerKind, String)> {
        let _absent =
            self.bench.ask("role/r", crate::api::route::Operation::Delete, &json!({})).await;
        self.bench.write("role/r", role).await.unwrap();
        let mut body = claimed;
        body["role"] = json!("r");
        body["jwt"] = json!(self.signer.sign(&claims(&more)));
        self.bench.log_in(body).await
    }
}

#[tokio::test]
async fn a_machine_logs_in_by_what_its_token_says_of_it() {
    let entra = Entra::new().await;
    let role = json!({ "bound_subscription_ids": ["S-1"], "bound_resource_groups": ["PROD"] });
    let vm = entra.log_in(role.clone(), json!({}), json!({ "xms_mirid": VM })).await.unwrap();
    assert_eq!((vm.alias.as_str(), &vm.metadata["vm_name"]), ("o-1", &"seal-1".to_owned()));
    assert_eq!(vm.metadata["resource_id"], VM);
    let shared = json!({ "xms_mirid": IDENTITY, "xms_az_rid": VM });
    let shared = entra.log_in(role.clone(), json!({}), shared).await.unwrap();
    assert_eq!(shared.metadata["vm_name"], "seal-1");
    let set = json!({ "bound_scale_sets": ["WEB"] });
    let of_set = json!({ "xms_mirid": VMSS });
    let of_set = entra.log_in(set.clone(), json!({ "vmss_name": "web" }), of_set).await.unwrap();
    assert_eq!(of_set.metadata["vmss_name"], "web");
    let said = json!({
        "subscription_id": "s-1", "resource_group_name": "Prod", "vm_name": "seal-1", "resource_id": VM,
    });
    assert!(entra.log_in(role, said, json!({ "xms_mirid": VM })).await.is_ok());
}

#[tokio::test]
async fn what_the_request_says_counts_for_nothing() {
    let entra = Entra::new().await;
    let role = json!({ "bound_subscription_ids": ["s-2"] });
    let lie =
        json!({ "subscription_id": "s-2", "resource_group_name": "prod", "vm_name": "seal-1" });
    let lied = entra.log_in(role.clone(), lie.clone(), json!({ "xms_mirid": VM })).await;
    assert_eq!(lied, refusal(AnswerKind::Forbidden, "subscription not authorized"));
    let by_principal = json!({ "bound_service_principal_ids": ["o-1"] });
    let lied = entra.log_in(by_principal.clone(), lie.clone(), json!({ "xms_mirid": VM })).await;
    assert_eq!(
        lied,
        refusal(AnswerKind::Forbidden, "'subscription_id' is not what the token says")
    );
    let unverifiable = entra.log_in(by_principal, lie, json!({})).await;
    assert_eq!(unverifiable, refusal(AnswerKind::Forbidden, &NoMachine::NoClaim.to_string()));
}

#[tokio::test]
async fn whoever_is_not_bound_is_refused() {
    let entra = Entra::new().await;
    let (rg, set) =
        (json!({ "bound_resource_groups": ["prod"] }), json!({ "bound_scale_sets": ["web"] }));
    let principal = |id: &str| json!({ "bound_service_principal_ids": [id] });
    let groups = json!({ "bound_group_ids": ["g-1"] });
    for (role, more, expected) in [
        (principal("o-2"), json!({}), "service principal not authorized: o-1".to_owned()),
        (principal("o-1"), json!({ "tid": "other" }), "the token is of another tenant".into()),
        (principal("o-1"), json!({ "oid": "" }), "the token names no service principal".into()),
        (groups.clone(), json!({}), "groups not authorized".into()),
        (groups.clone(), json!({ "groups": ["g-2"] }), "groups not authorized".into()),
        (
            groups,
            json!({ "_claim_names": { "groups": "src1" } }),
            NotBound::TooManyGroups.to_string(),
        ),
        (rg.clone(), json!({}), NoMachine::NoClaim.to_string()),
        (rg.clone(), json!({ "xms_mirid": IDENTITY }), NoMachine::UserAssigned.to_string()),
        (
            rg.clone(),
            json!({ "xms_mirid": "/subscriptions/s-1" }),
            NoMachine::Malformed.to_string(),
        ),
        (
            rg.clone(),
            json!({ "xms_mirid": VM.replace("/prod/", "/test/") }),
            "resource group not authorized".into(),
        ),
        (rg, json!({ "xms_mirid": VM.replace("/prod/", "//") }), NoMachine::Malformed.to_string()),
        (set.clone(), json!({ "xms_mirid": VM }), "scale set not authorized".into()),
        (
            set,
            json!({ "xms_mirid": VMSS.replace("web", "api") }),
            "scale set not authorized".into(),
        ),
    ] {
        let outcome = entra.log_in(role.clone(), json!({}), more.clone()).await;
        assert_eq!(outcome, refusal(AnswerKind::Forbidden, &expected), "{role} {more}");
    }
    let any = entra.log_in(principal("*"), json!({}), json!({ "oid": "o-9" })).await;
    assert_eq!(any.unwrap().alias, "o-9");
    let member = json!({ "groups": ["g-0", "G-1"] });
    assert!(entra.log_in(json!({ "bound_group_ids": ["g-1"] }), json!({}), member).await.is_ok());
}

#[tokio::test]
async fn a_token_of_another_audience_or_issuer_is_not_believed() {
    let entra = Entra::new().await;
    let role = json!({ "bound_service_principal_ids": ["*"] });
    let v2 = json!({ "iss": format!("{BASE}/v2.0") });
    assert!(entra.log_in(role.clone(), json!({}), v2).await.is_ok());
    for more in [
        json!({ "aud": "https://vault.azure.net" }),
        json!({ "iss": "https://sts.windows.net/other/" }),
        json!({ "exp": NOW - 61 }),
    ] {
        let (kind, text) = entra.log_in(role.clone(), json!({}), more).await.unwrap_err();
        assert_eq!(
            (kind, text.starts_with("error validating token: invalid")),
            (AnswerKind::BadRequest, true)
        );
    }
}

#[tokio::test]
async fn what_cannot_be_verified_cannot_be_bound() {
    let bench = Entra::new().await.bench;
    let located = json!({ "bound_locations": ["westeurope"], "bound_resource_groups": ["prod"] });
    assert!(bench.write("role/r", located).await.unwrap_err().contains("Azure Resource Manager"));
    let unbound = bench.write("role/r", json!({ "token_policies": "x" })).await;
    assert_eq!(
        unbound,
        Err("must have at least one bound constraint when creating/updating a role".into())
    );
    let config = json!({ "client_id": "c", "client_secret": "hidden" });
    let warnings = bench.write("config", config).await.unwrap();
    assert!(warnings[0].contains("client_id and client_secret"), "{warnings:?}");
    let shown = bench.read("config").await;
    assert!(!shown.to_string().contains("hidden"), "{shown}");
    assert_eq!(shown["tenant_id"], TENANT, "a later write changes what it names");
    for config in [
        json!({ "tenant_id": "common" }),
        json!({ "tenant_id": "../x" }),
        json!({ "environment": "Mars" }),
        json!({ "authority_host": "http://login.example" }),
    ] {
        assert!(bench.write("config", config.clone()).await.is_err(), "{config}");
    }
}
