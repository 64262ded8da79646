//! `config`, `role/<name>` and `login`.

use std::sync::Arc;

use selkie_config::{
    BoundClaimsType, DeclaredMethod, DeclaredRole, JwtConfig, JwtRole, TokenParameters,
};
use serde_json::{Value, json};

use super::signer::{NOW, Signer};
use super::world::{Answer, World};
use crate::api::route::Operation;
use crate::auth::configured::tests::{Bench, refusal};
use crate::auth::jwt::{Algorithm, Jwt, KeySources};
use crate::auth::methods::{AnswerKind, Method, MethodError};

const CONFIGURATION: &str = "https://id.example/.well-known/openid-configuration";
const KEYS: &str = "https://id.example/keys";

fn way(world: &World) -> Jwt {
    Jwt::new(KeySources::new(Arc::new(world.clone())))
}

fn nothing() -> DeclaredMethod {
    DeclaredMethod::Jwt(JwtConfig::default(), Vec::new())
}

async fn managed(world: &World) -> Bench<Jwt> {
    Bench::managed(way(world), nothing()).await
}

fn provider(world: &World, signers: &[&Signer]) {
    let found = json!({ "issuer": "https://id.example", "jwks_uri": KEYS });
    world.answers(CONFIGURATION, found.to_string());
    world.answers(KEYS, Signer::set(signers));
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "selkie", "sub": "repo:acme/infra:ref:refs/heads/main",
        "repository": "acme/infra", "exp": NOW + 300, "iat": NOW, "nested": { "env": "prod" },
    })
}

#[tokio::test]
async fn a_role_made_through_the_api_logs_in_by_a_discovered_provider() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::RS256));
    provider(&world, &[&signer]);
    let bench = managed(&world).await;
    let config = json!({ "oidc_discovery_url": "https://id.example", "default_role": "CI" });
    assert_eq!(bench.write("config", config).await, Ok(vec![]));
    let role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": "selkie",
        "bound_claims_type": "glob", "bound_claims": { "sub": "repo:acme/*" },
        "claim_mappings": { "repository": "repo", "/nested/env": "environment" },
        "token_policies": ["seal"], "token_period": "24h", "clock_skew_leeway": "-1s",
    });
    assert!(bench.method.creates(bench.mount(), "role/ci"));
    assert_eq!(bench.write("role/ci", role).await, Ok(vec![]));
    assert!(!bench.method.creates(bench.mount(), "role/CI"));
    assert_eq!(bench.keys().await, ["ci"]);
    let shown = bench.read("role/Ci").await;
    assert_eq!(shown["bound_claims"], json!({ "sub": "repo:acme/*" }));
    assert_eq!((&shown["clock_skew_leeway"], &shown["token_period"]), (&json!(-1), &json!(86_400)));
    assert_eq!(bench.read("config").await["default_role"], "ci");

    let token = signer.sign(&claims());
    let login = bench.log_in(json!({ "role": "Ci", "jwt": token })).await.unwrap();
    assert_eq!(login.alias, "repo:acme/infra:ref:refs/heads/main");
    assert_eq!(
        json!(login.metadata),
        json!({ "repo": "acme/infra", "environment": "prod", "role": "ci" })
    );
    assert_eq!(login.parameters.policies.len(), 1);
    assert!(bench.log_in(json!({ "jwt": token })).await.is_ok(), "by the default role");

    bench.ask("role/ci", Operation::Delete, &json!({})).await.unwrap();
    let gone = bench.log_in(json!({ "role": "ci", "jwt": token })).await;
    assert_eq!(gone, refusal(AnswerKind::BadRequest, "role \"ci\" could not be found"));
}

/// Where the signature is at fault, and what then is wrong with it.
const UNSIGNED: &str = "error validating token: error verifying token signature: no known key \
                        successfully validated the token signature";
const OTHER_ALGORITHM: &str = "error validating token: invalid algorithm (alg) header parameter: \
                               token signed with unexpected algorithm";

#[tokio::test]
async fn a_login_that_does_not_fit_gets_vaults_words() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::ES256));
    provider(&world, &[&signer]);
    let bench = managed(&world).await;
    let bad = |text: &str| refusal(AnswerKind::BadRequest, text);
    let log_in =
        async |role: &str, jwt: &str| bench.log_in(json!({ "role": role, "jwt": jwt })).await;
    assert_eq!(log_in("ci", "x").await, bad("could not load configuration"));
    let config =
        json!({ "oidc_discovery_url": "https://id.example", "jwt_supported_algs": "ES256" });
    bench.write("config", config).await.unwrap();
    let role = json!({
        "user_claim": "sub", "bound_audiences": ["selkie"], "bound_claims": { "repository": "acme/infra" },
        "groups_claim": "teams",
    });
    bench.write("role/ci", role).await.unwrap();
    assert_eq!(log_in("", "x").await, bad("missing role"));
    assert_eq!(log_in("other", "x").await, bad("role \"other\" could not be found"));
    assert_eq!(log_in("ci", "").await, bad("missing token"));
    assert_eq!(
        log_in("ci", "x").await,
        bad("error validating token: error verifying token signature: malformed token")
    );
    let with = |claim: &str, value: Value| {
        let mut claims = claims();
        claims["teams"] = json!(["a"]);
        claims[claim] = value;
        signer.sign(&claims)
    };
    assert!(log_in("ci", &with("x", json!(1))).await.is_ok());
    for (token, text) in [
        (with("iss", json!("https://other")), "error validating token: invalid issuer (iss) claim"),
        (
            with("exp", json!(NOW - 61)),
            "error validating token: invalid expiration time (exp) claim: token is expired",
        ),
        (
            with("aud", json!("other")),
            "error validating token: invalid audience (aud) claim: audience claim does not match any \
             expected audience",
        ),
        (with("sub", json!("")), "claim \"sub\" not found in token"),
        (with("teams", json!(7)), "\"teams\" claim could not be converted to string list"),
        (
            with("repository", json!("acme/other")),
            "error validating claims: claim \"repository\" does not match any associated bound claim \
             values",
        ),
        (Signer::new("k", Algorithm::ES256).sign(&claims()), UNSIGNED),
        (Signer::new("k", Algorithm::RS256).sign(&claims()), OTHER_ALGORITHM),
    ] {
        assert_eq!(log_in("ci", &token).await, bad(text));
    }
    let bound = json!({ "token_bound_cidrs": "10.0.0.0/8" });
    bench.write("role/ci", bound).await.unwrap();
    let from_elsewhere = log_in("ci", &with("x", json!(1))).await;
    assert_eq!(from_elsewhere, refusal(AnswerKind::Forbidden, "permission denied"));
}

#[tokio::test]
async fn a_provider_that_is_away_is_503_and_no_verdict_on_the_token() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::ES256));
    world.set(CONFIGURATION, Answer::Away);
    let bench = managed(&world).await;
    let config = json!({ "oidc_discovery_url": "https://id.example" });
    bench.write("config", config).await.unwrap();
    let role = json!({ "user_claim": "sub", "bound_audiences": ["selkie"] });
    bench.write("role/ci", role).await.unwrap();
    let (kind, text) =
        bench.log_in(json!({ "role": "ci", "jwt": signer.sign(&claims()) })).await.unwrap_err();
    assert_eq!(kind, AnswerKind::Unavailable, "{text}");
}

#[tokio::test]
async fn given_keys_are_used_and_bad_ones_refused() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::EdDSA));
    let bench = managed(&world).await;
    let config =
        json!({ "jwt_validation_pubkeys": [signer.pem()], "bound_issuer": "https://id.example" });
    bench.write("config", config).await.unwrap();
    let role = json!({ "user_claim": "sub", "bound_audiences": ["selkie"] });
    bench.write("role/ci", role).await.unwrap();
    assert!(bench.log_in(json!({ "role": "ci", "jwt": signer.sign(&claims()) })).await.is_ok());
    assert_eq!(world.asked(), []);
    let sources =
        "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set";
    for (config, text) in [
        (json!({}), sources),
        (json!({ "jwks_url": KEYS, "oidc_discovery_url": "https://id.example" }), sources),
        (json!({ "jwks_url": "http://id.example/keys" }), "'jwks_url' must be an https URL"),
        (
            json!({ "jwt_validation_pubkeys": ["x"] }),
            "not a public key or certificate in PEM, RSA, P-256, P-384 or Ed25519",
        ),
        (
            json!({ "jwks_url": KEYS, "jwt_supported_algs": ["HS256"] }),
            "invalid jwt_supported_algs: unsupported signing algorithm \"HS256\"",
        ),
    ] {
        assert_eq!(bench.write("config", config).await, Err(text.into()));
    }
    let browser = json!({ "jwks_url": KEYS, "oidc_client_secret": "s" });
    assert!(bench.write("config", browser).await.unwrap_err().contains("by a browser"));
    assert!(bench.log_in(json!({ "role": "ci", "jwt": signer.sign(&claims()) })).await.is_ok());
}

#[tokio::test]
async fn a_role_that_lets_anybody_in_or_makes_no_sense_is_refused() {
    let bench = managed(&World::default()).await;
    let sound = json!({ "user_claim": "sub", "bound_audiences": ["a"] });
    let with = |field: &str, value: Value| {
        let mut role = sound.clone();
        role[field] = value;
        role
    };
    for (role, text) in [
        (json!({ "bound_audiences": ["a"] }), "a user claim must be defined on the role"),
        (
            json!({ "user_claim": "sub" }),
            "must have at least one bound constraint when creating/updating a role",
        ),
        (with("role_type", json!("saml")), "invalid 'role_type': saml"),
        (with("bound_claims_type", json!("regex")), "invalid 'bound_claims_type': regex"),
        (
            with("claim_mappings", json!({ "a": "role" })),
            "metadata key \"role\" is reserved and may not be a mapping destination",
        ),
        (
            with("claim_mappings", json!({ "a": "x", "b": "x" })),
            "multiple keys are mapped to metadata key \"x\"",
        ),
        (
            {
                let mut role = with("bound_claims", json!({ "a": [1] }));
                role["bound_claims_type"] = json!("glob");
                role
            },
            "claim is not a string: 1",
        ),
        (
            with("bound_claims", json!("x")),
            "error converting input x for field \"bound_claims\": '' expected a map, got 'string'",
        ),
        (
            with("bound_claims", json!({ "a": { "b": 1 } })),
            "bound claim \"a\" is not a string, a number, true or false, or a list of them",
        ),
    ] {
        assert_eq!(bench.write("role/ci", role).await, Err(text.into()));
    }
    let browser = bench.write("role/ci", with("role_type", json!("oidc"))).await.unwrap_err();
    assert!(browser.contains("role_type \"jwt\""), "{browser}");
    assert!(bench.write("role/ci", sound.clone()).await.is_ok());
    assert!(bench.write("role/a..b/c", sound).await.is_err());
}

/// Whoever signs the claims may write anything into them.
#[tokio::test]
async fn what_claims_bring_is_bounded_as_the_meta_of_a_token() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::ES256));
    provider(&world, &[&signer]);
    let bench = managed(&world).await;
    let config = json!({ "oidc_discovery_url": "https://id.example" });
    bench.write("config", config).await.unwrap();
    let mappings: Value = (0..5).map(|one| (format!("c{one}"), json!(format!("m{one}")))).collect();
    let role =
        json!({ "user_claim": "sub", "bound_audiences": ["selkie"], "claim_mappings": mappings });
    bench.write("role/ci", role).await.unwrap();
    let login = |lengths: &[usize], user: usize| {
        let mut claims = claims();
        claims["sub"] = json!("u".repeat(user));
        for (one, length) in lengths.iter().enumerate() {
            claims[format!("c{one}")] = json!("x".repeat(*length));
        }
        json!({ "role": "ci", "jwt": signer.sign(&claims) })
    };
    let large = "metadata of the login: at most 64 entries and 2048 bytes of JSON, names of at most \
                 128 bytes and texts of at most 512 bytes";
    let long = "the name of the login: at most 512 bytes";
    let bad = |text: &str| Some((AnswerKind::BadRequest, text.to_owned()));
    for (lengths, user, refused) in [
        (&[512, 512, 512][..], 512, None),
        (&[513], 1, bad(large)),
        (&[450; 5], 1, bad(large)),
        (&[], 513, bad(long)),
    ] {
        assert_eq!(bench.log_in(login(lengths, user)).await.err(), refused, "{lengths:?} {user}");
    }
    let refused = bench.ask("login", Operation::Update, &login(&[1, 513], 1)).await.unwrap_err();
    let MethodError::Refused { reason: Some(reason), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(reason.to_string(), "3 entries, the longest is \"m1\" of 513 bytes");
}

#[tokio::test]
async fn what_is_declared_logs_in_and_is_not_changed_through_the_api() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&signer]));
    let config = JwtConfig {
        jwks_url: KEYS.into(),
        jwks_ca_pem: "the CA".into(),
        bound_issuer: "https://id.example".into(),
        ..JwtConfig::default()
    };
    let role = JwtRole {
        bound_claims: [("repository".to_owned(), vec![json!("acme/*")])].into(),
        bound_claims_type: BoundClaimsType::Glob,
        bound_audiences: vec!["selkie".into()],
        user_claim: "sub".into(),
        ..JwtRole::default()
    };
    let role = DeclaredRole { name: "ci".into(), role, token: TokenParameters::default() };
    let bench = Bench::declared(way(&world), DeclaredMethod::Jwt(config, vec![role])).await;
    bench.method.prepare(bench.mount());
    while world.count(KEYS) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.trusted(), ["the CA"]);
    let token = signer.sign(&claims());
    assert!(bench.log_in(json!({ "role": "ci", "jwt": token })).await.is_ok());
    assert_eq!(world.count(KEYS), 1, "fetched before anybody logs in");
    assert_eq!(bench.keys().await, ["ci"]);
    for (rest, operation) in [
        ("config", Operation::Update),
        ("role/ci", Operation::Update),
        ("role/new", Operation::Update),
        ("role/ci", Operation::Delete),
    ] {
        let refused =
            bench.ask(rest, operation, &json!({ "user_claim": "sub" })).await.unwrap_err();
        assert!(matches!(refused, MethodError::Declared { .. }), "{rest} {refused:?}");
        assert!(refused.to_string().contains("selkie.hcl:7:1"));
    }
}

/// A later release may have kept such a list; without its unknown names it would be empty, and so
/// allow all.
#[tokio::test]
async fn an_algorithm_that_is_not_known_refuses_every_login() {
    let (world, signer) = (World::default(), Signer::new("k", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&signer]));
    let role = JwtRole {
        bound_audiences: vec!["selkie".into()],
        user_claim: "sub".into(),
        ..JwtRole::default()
    };
    let role = DeclaredRole { name: "ci".into(), role, token: TokenParameters::default() };
    for algorithms in [vec!["ES1024"], vec!["ES256", "ES1024"]] {
        let config = JwtConfig {
            jwks_url: KEYS.into(),
            jwt_supported_algs: algorithms.into_iter().map(str::to_owned).collect(),
            ..JwtConfig::default()
        };
        let declared = DeclaredMethod::Jwt(config, vec![role.clone()]);
        let bench = Bench::declared(way(&world), declared).await;
        assert_eq!(
            bench.log_in(json!({ "role": "ci", "jwt": signer.sign(&claims()) })).await,
            refusal(
                AnswerKind::BadRequest,
                "error configuring token validator: unsupported signing algorithm \"ES1024\""
            )
        );
    }
}

#[tokio::test]
async fn a_token_without_a_name_of_its_key_works_after_a_rotation() {
    let world = World::default();
    let (old, new) = (Signer::new("a", Algorithm::ES256), Signer::new("b", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&old]));
    let bench = managed(&world).await;
    bench.write("config", json!({ "jwks_url": KEYS })).await.unwrap();
    let role = json!({ "user_claim": "sub", "bound_audiences": ["selkie"] });
    bench.write("role/ci", role).await.unwrap();
    let log_in =
        async |token: String| bench.log_in(json!({ "role": "ci", "jwt": token })).await.is_ok();
    tokio::time::pause();
    assert!(log_in(old.unnamed().sign(&claims())).await);
    world.answers(KEYS, Signer::set(&[&new]));
    tokio::time::advance(super::super::key_set::PAUSE).await;
    assert!(log_in(new.unnamed().sign(&claims())).await);
    assert!(!log_in(old.unnamed().sign(&claims())).await);
}
