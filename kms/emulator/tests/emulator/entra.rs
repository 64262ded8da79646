//! Entra: the three ways of an app, and what clients discover.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use serde_json::{Value, json};

use crate::client::{Answer, Emulator, TENANT, base64};

const LOGIN: &str = "login.emulator.test";
const TESTER: &str = "7e3a0000-0000-4000-8000-0000000000c2";
const SCOPE: &str = "https%3A%2F%2Fvault.azure.net%2F.default";
const BEARER: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

async fn ask(e: &Emulator, tenant: &str, form: &str) -> Answer {
    let path = format!("/{tenant}/oauth2/v2.0/token");
    e.https(LOGIN, "POST", &path, &[], form.as_bytes()).await.unwrap()
}

fn form(client: &str, proof: &str) -> String {
    format!("grant_type=client_credentials&client_id={client}&scope={SCOPE}&{proof}")
}

#[tokio::test]
async fn a_secret_buys_a_token_that_key_vault_takes() {
    let e = Emulator::new().await;
    let form = form(TESTER, "client_secret=emulator-secret");
    let token = ask(&e, TENANT, &form).await.ok();
    assert_eq!(token["expires_in"], 3599);
    let token = token["access_token"].as_str().unwrap().to_owned();
    assert_eq!(e.vault_as(&token, "GET", "/keys/selkie", Value::Null).await.status, 200);
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let at_localhost = e.https("localhost", "POST", &path, &[], form.as_bytes()).await.unwrap();
    assert_eq!(at_localhost.status, 200, "Entra is under every host name");
}

#[tokio::test]
async fn every_refusal_has_its_number() {
    let e = Emulator::new().await;
    let secret = "client_secret=emulator-secret";
    let good = form(TESTER, secret);
    for (tenant, form, status, number) in [
        ("nope", good.clone(), 400, 90_002),
        (TENANT, form(TESTER, "client_secret=wrong"), 401, 7_000_215),
        (TENANT, form("x", secret), 400, 700_016),
        (TENANT, form(TESTER, ""), 401, 7_000_218),
        (TENANT, good.replace(SCOPE, "https%3A%2F%2Fvault.azure.net"), 400, 1_002_012),
        (TENANT, good.replace("client_credentials", "password"), 400, 70_003),
        (TENANT, String::new(), 400, 900_144),
        (
            TENANT,
            form(TESTER, &format!("client_assertion_type={BEARER}&client_assertion=x")),
            401,
            700_213,
        ),
    ] {
        let answer = ask(&e, tenant, &form).await;
        let found = (answer.status, answer.json()["error_codes"][0].as_u64().unwrap());
        assert_eq!(found, (status, number), "{form}");
    }
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    assert_eq!(e.https(LOGIN, "GET", &path, &[], b"").await.unwrap().status, 405);
    assert_eq!(e.https(LOGIN, "GET", "/nothing", &[], b"").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_registered_federated_token_is_accepted() {
    let e = Emulator::new().await;
    let proof = format!("client_assertion_type={BEARER}&client_assertion=emulator-federated-token");
    ask(&e, TENANT, &form(TESTER, &proof)).await.ok();
}

#[tokio::test]
async fn an_assertion_counts_if_a_registered_certificate_signed_it_for_this_app_and_now() {
    let e = Emulator::new().await;
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let app = json!({ "name": "cert", "client_id": "c-1", "certificates": [certificate.pem()] });
    e.set("POST", "apps", app).await;
    let now = e.set("GET", "clock", Value::Null).await["now"].as_i64().unwrap();
    let claims = json!({
        "aud": format!("https://{LOGIN}/{TENANT}/oauth2/v2.0/token"), "iss": "c-1", "sub": "c-1",
        "nbf": now, "exp": now + 600,
    });
    let sha1 = base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate.der()).as_ref());
    let sha256 = base64(digest(&SHA256, certificate.der()).as_ref());
    let by_sha1 = json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 });
    let by_sha256 = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": sha256 });
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        claims
    };
    for (header, claims, expected) in [
        (&by_sha1, claims.clone(), 0),
        (&by_sha256, claims.clone(), 0),
        (&by_sha1, with("exp", json!(now - 301)), 700_024),
        (&by_sha1, with("sub", json!("c-2")), 700_021),
        (&by_sha1, with("aud", json!("https://other/")), 700_021),
        (&json!({ "alg": "RS256", "x5t": "other" }), claims.clone(), 700_027),
        (&json!({ "alg": "none", "x5t": sha1 }), claims.clone(), 5_002_738),
        (&json!({ "alg": "PS256", "x5t": sha1, "signed as": "RS256" }), claims.clone(), 700_027),
    ] {
        let jwt = sign(&key, header, &claims);
        let proof = format!("client_assertion_type={BEARER}&client_assertion={jwt}");
        let answer = ask(&e, TENANT, &form("c-1", &proof)).await.json();
        assert_eq!(answer["error_codes"][0].as_u64().unwrap_or(0), expected, "{header} {claims}");
    }
}

fn sign(key: &rcgen::KeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!(
        "{}.{}",
        base64(header.to_string().as_bytes()),
        base64(claims.to_string().as_bytes())
    );
    let pair = KeyPair::from_pkcs8(key.serialized_der()).unwrap();
    let pss = header["alg"] == "PS256" && header.get("signed as").is_none();
    let encoding: &'static dyn RsaEncoding = if pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", base64(&signature))
}

#[tokio::test]
async fn discovery_names_the_host_that_was_asked() {
    let e = Emulator::new().await;
    let host = format!("{LOGIN}:{}", e.running.https().port());
    let get = async |path: &str| e.https(LOGIN, "GET", path, &[], b"").await.unwrap();
    let path = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    let found = get(&path).await.ok();
    assert_eq!(found["token_endpoint"], format!("https://{host}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(found["issuer"], format!("https://{host}/{TENANT}/v2.0"));
    let instance = get("/common/discovery/instance?api-version=1.1").await.ok();
    assert_eq!(instance["metadata"][0]["aliases"][0], host);
    assert_eq!(get("/nope/v2.0/.well-known/openid-configuration").await.status, 400);
}
