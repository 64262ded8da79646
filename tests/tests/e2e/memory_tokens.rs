//! Invariant I3 for what is made, shown and signed here: tokens made through the API, secret ids,
//! and the proofs of logins, with an audit device that sees them all.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use selkie_tests::{Answer, Connection, Request, Site, token, until};
use serde_json::{Value, json};

use crate::memory::{Traffic, assert_clean, may_look};

const DECLARED: usize = 8;

/// Who signs the machines' tokens.
struct Signer(KeyPair);

impl Signer {
    fn new() -> Result<Self> {
        Ok(Self(KeyPair::generate_for(&PKCS_ED25519)?))
    }

    fn public_key(&self) -> String {
        let text = base64ct::Base64::encode_string(&self.0.subject_public_key_info());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// A token for the machine of this number.
    #[expect(clippy::disallowed_methods, reason = "the server goes by the wall clock")]
    fn jwt(&self, number: usize) -> Result<String> {
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({ "sub": format!("machine-{number}"), "aud": "selkie", "iat": now,
                             "exp": now + 3600, "jti": token()? });
        let signed =
            format!("{}.{}", part(&json!({ "alg": "EdDSA", "typ": "JWT" })), part(&claims));
        let signature = self.0.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature)))
    }
}

fn site(signer: &Signer) -> Result<(Site, Vec<String>)> {
    let mut site = Site::new()?;
    let audit = site.dir().join("audit.log");
    let key = site.random_key("audit.key")?;
    site.extra += &format!(
        "storage \"inmem\" {{}}\naudit_key = \"{key}\"\naudit \"file\" {{ file_path = {audit:?} }}\n\
         auth \"approle\" {{\n  role \"web\" {{\n    role_id = \"the-web\"\n    token_policies = [\"seal\"]\n  }}\n}}\n\
         auth \"jwt\" {{\n  jwt_validation_pubkeys = [<<EOT\n{}EOT\n  ]\n  role \"machine\" {{\n    \
         bound_audiences = [\"selkie\"]\n    user_claim = \"sub\"\n    token_policies = [\"seal\"]\n  }}\n}}\n",
        signer.public_key(),
    );
    site.policy("seal", &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])]);
    let tokens = (0..DECLARED).map(|i| site.client(&format!("c{i}"), &["root"], ""));
    let tokens = tokens.collect::<Result<_>>()?;
    Ok((site, tokens))
}

/// The answer once there is one: an audited server says 503 to more than 25 logins a second.
fn answered(connection: &mut Connection, path: &str, body: &Value) -> Result<Answer> {
    until("the server takes it", || {
        let answer = connection.send(Request::new("POST", path).json(body))?;
        Ok((answer.status != 503).then_some(answer))
    })
}

fn succeeds(connection: &mut Connection, path: &str, body: &Value) -> Result<Value> {
    let answer = answered(connection, path, body)?;
    ensure!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
    Ok(answer.json())
}

/// The token in an answer, which is searched for from now on.
fn issued(traffic: &mut Traffic, answer: &Value) -> Result<String> {
    let token = answer["auth"]["client_token"].as_str().context("no token")?;
    traffic.needles.token(token);
    Ok(token.to_owned())
}

/// What one connection does with tokens. What it does last differs, so that each kind of answer is
/// the last of some connection.
fn use_tokens(
    traffic: &mut Traffic,
    connection: &mut Connection,
    number: usize,
    signer: &Signer,
) -> Result<()> {
    let declared = connection.token.clone();
    let made =
        succeeds(connection, "auth/token/create", &json!({ "ttl": "1h", "meta": { "job": "7" } }))?;
    let made = issued(traffic, &made)?;
    succeeds(connection, "auth/token/lookup", &json!({ "token": made }))?;
    succeeds(connection, "auth/token/renew", &json!({ "token": made }))?;
    let secret = succeeds(connection, "auth/approle/role/web/secret-id", &json!({}))?;
    let secret = secret["data"]["secret_id"].as_str().context("no secret id")?.to_owned();
    traffic.needles.token(&secret);

    connection.token = None;
    let proof = json!({ "role_id": "the-web", "secret_id": secret });
    let login = succeeds(connection, "auth/approle/login", &proof)?;
    let login = issued(traffic, &login)?;
    let jwt = signer.jwt(number)?;
    jwt.split('.').skip(1).for_each(|part| traffic.needles.token(part));
    let machine =
        succeeds(connection, "auth/jwt/login", &json!({ "role": "machine", "jwt": jwt }))?;
    issued(traffic, &machine)?;

    let wrap = Request::new("POST", "auth/token/create").header("X-Vault-Wrap-TTL", "5m");
    connection.token.clone_from(&declared);
    let wrapped = connection.send(wrap.json(&json!({ "policies": ["seal"] })))?.json();
    let wrapping = wrapped["wrap_info"]["token"].as_str().context("nothing is wrapped")?;
    traffic.needles.token(wrapping);
    let unwrapped = succeeds(connection, "sys/wrapping/unwrap", &json!({ "token": wrapping }))?;
    issued(traffic, &unwrapped)?;

    connection.token = Some(login);
    traffic.round_trip(connection, 48)?;
    succeeds(connection, "auth/token/renew-self", &json!({}))?;
    connection.token = Some(made.clone());
    traffic.round_trip(connection, 48)?;
    let own = connection.send(Request::new("GET", "auth/token/lookup-self"))?;
    ensure!(own.status == 200, "{}", own.text());
    connection.token = declared;
    last(traffic, connection, number, &made)
}

fn last(
    traffic: &mut Traffic,
    connection: &mut Connection,
    number: usize,
    made: &str,
) -> Result<()> {
    let wrong = token()?;
    traffic.needles.token(&wrong);
    let refused = match number % 8 {
        0 => {
            let batch = succeeds(
                connection,
                "auth/token/create",
                &json!({ "type": "batch", "policies": ["seal"] }),
            )?;
            return issued(traffic, &batch).map(drop);
        }
        1 => {
            succeeds(connection, "auth/token/revoke", &json!({ "token": made }))?;
            return Ok(());
        }
        2 => {
            succeeds(
                connection,
                "auth/token/create",
                &json!({ "id": wrong.replace("hvs.", "own-") }),
            )?;
            traffic.needles.token(&wrong.replace("hvs.", "own-"));
            return Ok(());
        }
        3 => answered(
            connection,
            "auth/approle/login",
            &json!({ "role_id": "the-web", "secret_id": wrong }),
        )?,
        4 => answered(connection, "auth/jwt/login", &json!({ "role": "machine", "jwt": wrong }))?,
        5 => answered(connection, "auth/token/lookup", &json!({ "token": wrong }))?,
        6 => answered(
            connection,
            "auth/approle/role/web/secret-id/destroy",
            &json!({ "secret_id": [wrong] }),
        )?,
        _ => {
            connection.token = Some(made.to_owned());
            succeeds(connection, "auth/token/revoke-self", &json!({}))?;
            return Ok(());
        }
    };
    ensure!((400..500).contains(&refused.status), "{} {}", refused.status, refused.text());
    Ok(())
}

#[test]
fn no_token_that_is_made_and_no_proof_of_a_login_stays_in_a_server() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let signer = Signer::new()?;
    let (site, tokens) = site(&signer)?;
    let selkie = site.start()?;
    let clients: Vec<_> = tokens.iter().map(|token| selkie.client().with_token(token)).collect();
    let first = clients.first().context("no client")?;
    until("the state is open", || {
        Ok((first.get("auth/approle/role/web")?.status == 200).then_some(()))
    })?;
    let mut traffic = Traffic::send(&clients)?;
    for (number, mut connection) in std::mem::take(&mut traffic.connections).into_iter().enumerate()
    {
        use_tokens(&mut traffic, &mut connection, number, &signer)?;
        traffic.connections.push(connection);
    }
    // The control: what is searched for was really there, in the lines that were hashed.
    let audit = fs::read_to_string(site.dir().join("audit.log"))?;
    ensure!(audit.contains("auth/jwt/login") && audit.contains("auth/token/create"), "no audit");
    assert_clean(&selkie, traffic)
}
