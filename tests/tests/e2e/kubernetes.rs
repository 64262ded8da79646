//! Logins of service accounts, with a real API server: asked about each token, or only believed by
//! its key. A Vault is unsealed with what comes of it.

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Answer, Client, ISSUER, Kubernetes, Peer, SealArguments, Selkie, Site, evidence, until,
};
use serde_json::json;

use crate::vault::Deployment;

/// Two mounts: `kubernetes` asks the API server, `offline` has its key.
struct Cluster {
    kubernetes: Kubernetes,
    selkie: Selkie,
    site: Site,
}

impl Cluster {
    fn start() -> Result<Option<Self>> {
        let Some(kubernetes) = Kubernetes::start()? else { return Ok(None) };
        for (namespace, name) in [("prod", "vault"), ("prod", "other"), ("security", "selkie")] {
            kubernetes.account(namespace, name)?;
        }
        kubernetes.make_reviewer("security", "selkie")?;
        let mut site = Site::new()?;
        let reviewer = kubernetes.token("security", "selkie", "")?;
        let reviewer = site.secret_file("reviewer", reviewer.as_bytes())?;
        site.policy(
            "seal",
            &[
                ("transit/encrypt/autounseal", &["update"]),
                ("transit/decrypt/autounseal", &["update"]),
            ],
        );
        let role = "  role \"vault\" {\n    bound_service_account_names = [\"vault\"]\n    \
                    bound_service_account_namespaces = [\"prod\"]\n    audience = \"selkie\"\n    \
                    token_policies = [\"seal\"]\n  }\n";
        site.extra += &format!(
            "storage \"inmem\" {{}}\nauth \"kubernetes\" {{\n  kubernetes_host = \"{}\"\n  \
             kubernetes_ca_cert = {:?}\n  token_reviewer_jwt = \"file://{}\"\n{role}}}\n\
             auth \"kubernetes\" {{\n  path = \"offline\"\n  pem_keys = [{:?}]\n  \
             issuer = \"{ISSUER}\"\n{role}}}\n",
            kubernetes.url(),
            kubernetes.ca,
            reviewer.display(),
            kubernetes.public_key,
        );
        let selkie = site.start()?;
        Ok(Some(Self { kubernetes, site, selkie }))
    }

    fn log_in(&self, mount: &str, jwt: &str) -> Result<Answer> {
        let body = json!({ "role": "vault", "jwt": jwt });
        until("the state is open", || {
            let answer = self.selkie.client().put(&format!("auth/{mount}/login"), &body)?;
            Ok((answer.status != 503).then_some(answer))
        })
    }

    fn refuses(&self, mount: &str, jwt: &str, whose: &str) -> Result<()> {
        let answer = self.log_in(mount, jwt)?;
        ensure!(answer.status == 403, "{whose} at {mount}: {} {}", answer.status, answer.text());
        Ok(())
    }
}

fn token_of(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let token = answer.json()["auth"]["client_token"].as_str().map(str::to_owned);
    token.context("no token")
}

fn encrypts(client: &Client, token: &str) -> Result<()> {
    let client = client.with_token(token);
    let sealed = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "c2VjcmV0" }))?;
    ensure!(sealed.status == 200, "{}", sealed.text());
    ensure!(client.get("transit/keys/autounseal")?.status == 403, "more than its policy");
    Ok(())
}

#[test]
fn a_service_account_logs_in_as_a_real_api_server_says_and_its_vault_is_unsealed() -> Result<()> {
    let Some(vault_core) = Peer::VaultCore.find()? else { return Ok(()) };
    let Some(cluster) = Cluster::start()? else { return Ok(()) };
    let kubernetes = &cluster.kubernetes;
    let jwt = kubernetes.token("prod", "vault", "selkie")?;
    for mount in ["kubernetes", "offline"] {
        let answer = cluster.log_in(mount, &jwt)?;
        encrypts(&cluster.selkie.client(), &token_of(&answer)?)?;
        let metadata = &answer.json()["auth"]["metadata"];
        assert_eq!(metadata["service_account_name"], "vault", "{metadata}");
        assert_eq!(metadata["service_account_namespace"], "prod", "{metadata}");
        cluster.refuses(mount, &kubernetes.token("prod", "other", "selkie")?, "another account")?;
        cluster.refuses(mount, &kubernetes.token("prod", "vault", "")?, "another audience")?;
        cluster.refuses(mount, &(jwt.clone() + "x"), "a forged signature")?;
    }
    let seal = SealArguments {
        address: cluster.selkie.url(),
        token: token_of(&cluster.log_in("kubernetes", &jwt)?)?,
        key: "autounseal".to_owned(),
        further: Vec::new(),
    };
    let storage = cluster.site.dir().join("vault");
    let mut vault = Deployment { program: vault_core, storage, seal };
    let vault_token = vault.with_secret()?;
    vault.seal.token = token_of(&cluster.log_in("kubernetes", &jwt)?)?;
    vault.assert_comes_up_by_itself(&vault_token)?;
    // The account goes, and with it what its token is worth; a key alone cannot know.
    kubernetes.delete_account("prod", "vault")?;
    until("the API server knows no such account", || {
        Ok((cluster.log_in("kubernetes", &jwt)?.status == 403).then_some(()))
    })?;
    token_of(&cluster.log_in("offline", &jwt)?)?;
    assert!(!cluster.selkie.log().contains(&jwt), "the log has the token");
    evidence(
        "a service account's token logs in as a real kube-apiserver says, and a real Vault is sealed and unsealed with what comes of it",
        "tests/run kubernetes",
        "TokenReview and local key; kube-apiserver v1.34.2",
        "another account, audience or signature and a deleted account are refused",
    )
}

#[test]
fn without_a_right_to_ask_nobody_is_let_in_on_their_own_word() -> Result<()> {
    let Some(mut cluster) = Cluster::start()? else { return Ok(()) };
    let jwt = cluster.kubernetes.token("prod", "vault", "selkie")?;
    token_of(&cluster.log_in("kubernetes", &jwt)?)?;
    let powerless = cluster.kubernetes.token("prod", "other", "")?;
    cluster.site.secret_file("reviewer", powerless.as_bytes())?;
    cluster.selkie.stop()?;
    cluster.selkie.restart()?;
    token_of(&cluster.log_in("offline", &jwt)?)?;
    let body = json!({ "role": "vault", "jwt": jwt });
    let answer = cluster.selkie.client().put("auth/kubernetes/login", &body)?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the API server cannot be asked"), "{}", answer.text());
    Ok(())
}
