use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use selkie_config::{DeclaredAuth, TokenParameters};
use selkie_crypto::os_random;
use selkie_listener::ShownCertificate;
use selkie_storage::MemoryStore;
use serde_json::{Value, json};

use super::super::{DeclaredMounts, Outcome, Tools};
use super::*;
use crate::api::fields::Fields;
use crate::auth::Credentials;
use crate::clock::SystemClock;

/// A certificate that nobody issued, as PEM and as it is shown.
fn certificate() -> (String, Arc<ShownCertificate>) {
    let names = vec!["vault.example".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap().cert;
    (made.pem(), ShownCertificate::unverified(vec![made.der().clone()]).unwrap())
}

/// One that somebody has issued, whose PEM comes with it.
fn issued() -> (String, Arc<ShownCertificate>) {
    issued_to("vault-a")
}

fn issued_to(name: &str) -> (String, Arc<ShownCertificate>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.vault.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let made = params.signed_by(&own, &issuer).unwrap();
    (ca.pem(), ShownCertificate::unverified(vec![made.der().clone()]).unwrap())
}

struct Bench {
    method: Cert,
    records: Records,
    mount: Arc<AuthMount>,
}

impl Bench {
    async fn at(mount: Arc<AuthMount>) -> Self {
        let method = Cert::default();
        let records = Records::new(true, method.mirrors(), Arc::new(SystemClock));
        records.attach(Arc::new(MemoryStore::new())).await.unwrap();
        Self { method, records, mount }
    }

    async fn managed() -> Self {
        let mount = AuthMount::managed("cert".parse().unwrap(), "cert", Uuid::new_v4());
        Self::at(Arc::new(mount)).await
    }

    async fn declared(roles: Vec<DeclaredRole<CertRole>>) -> Self {
        let declared = DeclaredMounts::new(vec![DeclaredAuth {
            path: "cert".parse().unwrap(),
            description: String::new(),
            default_lease_ttl: None,
            max_lease_ttl: None,
            at: "selkie.hcl:7:1".into(),
            method: DeclaredMethod::Cert(roles),
        }]);
        Self::at(Arc::clone(declared.iter().next().unwrap())).await
    }

    async fn ask(
        &self,
        rest: &str,
        operation: Operation,
        body: Value,
        certificate: Option<&ShownCertificate>,
    ) -> Result<MethodReply, MethodError> {
        let body = body.to_string();
        let mut fields = Fields::parse(body.as_bytes(), None).unwrap();
        let (records, clock, random) = (&self.records, &SystemClock, &os_random);
        let tools = Tools { records, state_key: None, clock, token_time: None, random };
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let credentials = Credentials { token: None, certificate, address };
        let (mount, fields) = (&*self.mount, &mut fields);
        let request =
            MethodRequest { mount, rest, operation, fields, credentials, tools, room: None };
        self.method.answer(request).await
    }

    async fn write(&self, name: &str, body: Value) -> Result<MethodReply, MethodError> {
        self.ask(&format!("certs/{name}"), Operation::Update, body, None).await
    }

    async fn read(&self, name: &str) -> Option<Value> {
        let rest = format!("certs/{name}");
        match self.ask(&rest, Operation::Read, json!({}), None).await.map(|reply| reply.outcome) {
            Ok(Outcome::Data(data)) => Some(serde_json::to_value(data).unwrap()),
            Err(MethodError::NotFound) => None,
            other => panic!("{other:?}"),
        }
    }

    async fn names(&self) -> Vec<String> {
        match self.ask("certs/", Operation::List, json!({}), None).await.unwrap().outcome {
            Outcome::Keys(names) => names,
            other => panic!("{other:?}"),
        }
    }

    /// The name of the role, or what the client is told.
    async fn login(&self, body: Value, shown: Option<&ShownCertificate>) -> Result<String, String> {
        match self.ask("login", Operation::Update, body, shown).await {
            Ok(MethodReply { outcome: Outcome::Login(login), .. }) => {
                Ok(login.metadata["cert_name"].clone())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[tokio::test]
async fn a_login_is_renewed_only_with_a_certificate_that_its_role_takes() {
    let bench = Bench::managed().await;
    let ((pem, own), (_, other)) = (certificate(), certificate());
    bench.write("web", json!({ "certificate": pem })).await.unwrap();
    let metadata = BTreeMap::from([("cert_name".to_owned(), "web".to_owned())]);
    let renews = |certificate| {
        bench.method.may_renew(&bench.mount, Renewal { metadata: &metadata, certificate, now: 0 })
    };
    assert!(renews(Some(&*own)));
    assert!(!renews(Some(&*other)));
    assert!(!renews(None), "it was revoked, or is not there");
    bench.ask("certs/web", Operation::Delete, json!({}), None).await.unwrap();
    assert!(!renews(Some(&*own)));
}

#[tokio::test]
async fn a_role_is_read_as_it_was_written_and_gone_once_deleted() {
    let bench = Bench::managed().await;
    let (pem, _) = certificate();
    let body = json!({
        "certificate": pem, "allowed_dns_sans": "*.a,*.b", "token_policies": ["seal"], "ttl": 60,
        "required_extensions": ["1.2.3:x*"],
    });
    bench.write("Web", body).await.unwrap();
    bench.write("web", json!({ "display_name": "w" })).await.unwrap();
    let read = bench.read("web").await.unwrap();
    assert_eq!(read["certificate"], pem);
    assert_eq!(read["display_name"], "w");
    assert_eq!(read["allowed_dns_sans"], json!(["*.a", "*.b"]), "what is absent stays");
    assert_eq!(read["required_extensions"], json!(["1.2.3:x*"]));
    assert_eq!((&read["token_policies"], &read["token_ttl"]), (&json!(["seal"]), &json!(60)));
    assert_eq!(bench.names().await, ["web"]);
    bench.ask("certs/web", Operation::Delete, json!({}), None).await.unwrap();
    bench.ask("certs/web", Operation::Delete, json!({}), None).await.unwrap();
    assert_eq!(bench.read("web").await, None);
    assert!(bench.names().await.is_empty());
}

#[tokio::test]
async fn what_is_no_certificate_or_extension_is_no_role() {
    let bench = Bench::managed().await;
    let (pem, _) = certificate();
    for (body, told) in [
        (json!({}), "failed to parse certificate"),
        (json!({ "certificate": "x" }), "failed to parse certificate"),
        (
            json!({ "certificate": pem, "required_extensions": "x" }),
            "required_extensions: \"x\" is neither OID:VALUE nor hex:OID:VALUE",
        ),
    ] {
        let refused = bench.write("web", body).await.unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
    assert!(bench.names().await.is_empty());
}

#[tokio::test]
async fn a_certificate_logs_in_by_the_one_role_that_takes_it() {
    let bench = Bench::managed().await;
    let ((ca, own), (_, foreign)) = (issued(), issued());
    let web = json!({ "certificate": ca, "allowed_common_names": "vault-*" });
    bench.write("web", web.clone()).await.unwrap();
    let other = json!({ "certificate": ca, "allowed_common_names": "other" });
    bench.write("other", other).await.unwrap();
    let own = Some(&*own);
    assert_eq!(bench.login(json!({}), own).await.as_deref(), Ok("web"));
    assert_eq!(bench.login(json!({ "name": "WEB" }), own).await.as_deref(), Ok("web"));
    let told = bench.login(json!({ "name": "other" }), own).await.unwrap_err();
    assert!(told.starts_with("no chain matching all constraints"), "{told}");
    let told = bench.login(json!({}), Some(&foreign)).await.unwrap_err();
    assert_eq!(told, "invalid certificate or no client certificate supplied");
    assert_eq!(bench.login(json!({ "name": "none" }), own).await.unwrap_err(), told);
    let told = bench.login(json!({}), None).await.unwrap_err();
    assert_eq!(told, "client certificate must be supplied");
    bench.write("web-2", web.clone()).await.unwrap();
    let told = bench.login(json!({}), own).await.unwrap_err();
    assert!(told.starts_with("the certificate matches several roles"), "{told}");
    let mut elsewhere = web;
    elsewhere["token_bound_cidrs"] = json!("10.0.0.0/8");
    bench.write("web", elsewhere).await.unwrap();
    let told = bench.login(json!({ "name": "web" }), own).await.unwrap_err();
    assert_eq!(told, "permission denied");
}

#[tokio::test]
async fn declared_roles_log_in_and_are_not_changed_through_the_api() {
    let (ca, own) = issued();
    let role = CertRole { certificate: ca.clone(), ..CertRole::default() };
    let token = TokenParameters::default();
    let bench = Bench::declared(vec![DeclaredRole { name: "web".into(), role, token }]).await;
    assert_eq!(bench.login(json!({}), Some(&own)).await.as_deref(), Ok("web"));
    assert_eq!(bench.read("web").await.unwrap()["display_name"], "web");
    assert_eq!(bench.names().await, ["web"]);
    let refused = bench.write("web", json!({ "certificate": ca })).await.unwrap_err();
    let told = "role \"web\" is declared at selkie.hcl:7:1: change it there and reload";
    assert_eq!(refused.to_string(), told);
    let deleted = bench.ask("certs/other", Operation::Delete, json!({}), None).await;
    assert!(matches!(deleted, Err(MethodError::Declared { .. })));
    let metadata = BTreeMap::from([("cert_name".to_owned(), "web".to_owned())]);
    let now = crate::clock::Clock::unix_seconds(&SystemClock);
    let renewal = Renewal { metadata: &metadata, certificate: Some(&own), now };
    assert!(bench.method.may_renew(&bench.mount, renewal));
}

#[tokio::test]
async fn a_certificate_with_a_name_longer_than_metadata_may_be_is_refused() {
    let bench = Bench::managed().await;
    for (bytes, is_refused) in [(512, false), (513, true)] {
        let (ca, own) = issued_to(&"v".repeat(bytes));
        bench.write("web", json!({ "certificate": ca })).await.unwrap();
        let told = bench.login(json!({}), Some(&own)).await;
        let refusal = |told: &String| told.starts_with("metadata of the login: at most 64 entries");
        assert_eq!(told.as_ref().is_err_and(refusal), is_refused, "{told:?}");
    }
}
