//! Invariant I3, all at once: one server with everything that handles secrets (plain HTTP, TLS and
//! client certificates; an HSM's child process and a static key; an audit log, tokens, logins), and
//! what a core dump of it would hold. The DEKs are known here by the static key, which wraps each of
//! them too.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use selkie_tests::{
    Authority, Certificate, Client, Findings, Needles, Process, Request, Selkie, Site, SoftHsm,
    evidence, free_port, hsm_child, skip, until,
};
use serde_json::{Value, json};

use crate::memory::{CONNECTIONS, Traffic, may_look};
use crate::tls::config;

const COMMAND: &str = "cargo test -p selkie-tests --test e2e memory";
/// For each connection, beyond what the other searches send.
const ROUNDS: usize = 8;

/// The files of the server, and who may ask it.
struct Deployment {
    site: Site,
    hsm: Option<SoftHsm>,
    authority: Authority,
    server: Certificate,
    tokens: Vec<String>,
}

impl Deployment {
    fn new() -> Result<Self> {
        let (mut site, hsm) = (Site::new()?, SoftHsm::new()?);
        let authority = Authority::new()?;
        let server = authority.issue("selkie")?;
        site.policy("seal", &[("transit/+/+", &["update"])]);
        let tokens = (0..CONNECTIONS).map(|i| site.client(&format!("c{i}"), &["root"], ""));
        let tokens = tokens.collect::<Result<_>>()?;
        if let Some(hsm) = &hsm {
            let pin = site.secret_file("pin", hsm.pin.as_bytes())?;
            site.extra += &format!("seal \"static\" {{\n  priority = 2\n{}}}\n", site.seal);
            site.seal_type = "pkcs11";
            site.seal = hsm.stanza(&pin) + "  priority = 1\n";
        }
        let mut deployment = Self { site, hsm, authority, server, tokens };
        deployment.declare_all_else()?;
        Ok(deployment)
    }

    fn declare_all_else(&mut self) -> Result<()> {
        let site = &mut self.site;
        let [origin, local, audit] = ["origin", "local", "audit"].map(|name| site.random_key(name));
        let (data, log) = (site.dir().join("data"), site.dir().join("audit.log"));
        fs::create_dir(&data)?;
        let (cert, key) = self.server.write(site.dir())?;
        let ca = site.dir().join("ca.pem");
        fs::write(&ca, self.authority.certificate())?;
        site.extra += &format!(
            "origin_key = \"{}\"\nlocal_key = \"{}\"\naudit_key = \"{}\"\ndata_dir = {data:?}\n\
             audit \"file\" {{ file_path = {log:?} }}\nstorage \"inmem\" {{}}\n\
             auth \"cert\" {{\n  role \"any\" {{\n    certificate = <<EOT\n{}EOT\n    \
             token_policies = [\"seal\"]\n  }}\n}}\n",
            origin?,
            local?,
            audit?,
            self.authority.certificate(),
        );
        for asked in
            ["", "  tls_client_ca_file = CA\n  tls_require_and_verify_client_cert = true\n"]
        {
            let asked = asked.replace("CA", &format!("{ca:?}"));
            site.extra += &format!(
                "listener \"tcp\" {{\n  address = \"127.0.0.1:{}\"\n  tls_cert_file = {cert:?}\n  \
                 tls_key_file = {key:?}\n{asked}}}\n",
                free_port()?
            );
        }
        Ok(())
    }

    fn start(&self) -> Result<Selkie> {
        let selkie = self.site.start()?;
        let first = selkie.client().with_token(self.tokens.first().context("no token")?);
        until("it encrypts, and its state is open", || {
            let body = json!({ "plaintext": "YQ==" });
            let sealed = first.put("transit/encrypt/autounseal", &body)?.status;
            let made = first.put("auth/token/create", &json!({ "ttl": "1m" }))?.status;
            Ok((sealed == 200 && made == 200).then_some(()))
        })
        .with_context(|| selkie.log())?;
        Ok(selkie)
    }

    /// One for each token, over each of the listeners in turn.
    fn clients(&self, selkie: &Selkie) -> Result<Vec<Client>> {
        let shown = self.authority.issue("c")?;
        let tls = config(&self.authority, rustls::ALL_VERSIONS, None)?;
        let mutual = config(&self.authority, rustls::ALL_VERSIONS, Some(&shown))?;
        let ways = [None, Some(tls), Some(mutual)];
        ensure!(selkie.targets.len() == ways.len(), "{:?}", selkie.targets);
        // In the order of their ports they may not be.
        let text = self.site.text();
        let mut addresses: Vec<_> = selkie.targets.iter().map(|target| target.address).collect();
        addresses.sort_by_key(|address| text.find(&address.to_string()));
        let turns = addresses.into_iter().zip(ways).cycle();
        let client = |(token, (address, tls)): (&String, _)| {
            let plain = Client::plain(address).with_token(token);
            Client { tls, ..plain }
        };
        Ok(self.tokens.iter().zip(turns).map(client).collect())
    }

    /// The DEK of a ciphertext, unwrapped with the static key.
    fn dek(&self, ciphertext: &str) -> Result<Vec<u8>> {
        let (_, envelope) = ciphertext.rsplit_once(':').context("no ciphertext")?;
        let envelope = Base64::decode_vec(envelope).map_err(anyhow::Error::msg)?;
        let envelope: Value = serde_json::from_slice(&envelope)?;
        let recipients = envelope["recipients"].as_array().context("no recipients")?;
        let ours = |recipient: &&Value| recipient["header"]["kid"] == "k1";
        let recipient = recipients.iter().find(ours).context("no static recipient")?;
        let wrapped = recipient["encrypted_key"].as_str().context("no encrypted_key")?;
        let wrapped = Base64UrlUnpadded::decode_vec(wrapped).map_err(anyhow::Error::msg)?;
        let kek = AesKek::new(&AES_256, &fs::read(self.site.dir().join("k1"))?)?;
        Ok(kek.unwrap(&wrapped, &mut [0; 48])?.to_owned())
    }
}

/// Logins and tokens, each on a connection of the crowd, which stays open.
fn log_in_and_make_tokens(traffic: &mut Traffic) -> Result<()> {
    let mut connections = std::mem::take(&mut traffic.connections);
    for (at, connection) in connections.iter_mut().enumerate() {
        // Every third came with a certificate, which logs in.
        let path = if at % 3 == 2 { "auth/cert/login" } else { "auth/token/create" };
        let issued = until("the server takes it", || {
            let answer = connection.send(Request::new("POST", path).json(&json!({})))?;
            Ok((answer.status != 503).then_some(answer))
        })?;
        let issued = issued.json();
        let token = issued["auth"]["client_token"].as_str();
        traffic.needles.token(token.with_context(|| format!("{path}: {issued}"))?);
        for _ in 0..ROUNDS {
            traffic.round_trip(connection, 48)?;
        }
    }
    traffic.connections = connections;
    Ok(())
}

/// What the child of the HSM holds, which is the library's business: told, not judged.
fn child(selkie: &Selkie, needles: &Needles) -> Result<Option<Findings>> {
    let child = hsm_child(&selkie.process)?;
    child.map(|child| needles.search(child)).transpose()
}

#[test]
fn no_secret_is_in_a_dump_of_a_server_with_everything() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let deployment = Deployment::new()?;
    let selkie = deployment.start()?;
    let mut traffic = Traffic::send(&deployment.clients(&selkie)?)?;
    log_in_and_make_tokens(&mut traffic)?;
    let mut deks = Needles::default();
    for ciphertext in &traffic.ciphertexts {
        let dek = deployment.dek(ciphertext)?;
        deks.key(&dek, &Base64::encode_string(&dek));
    }
    let mut pin = Needles::default();
    if let Some(hsm) = &deployment.hsm {
        pin.key(hsm.pin.as_bytes(), &Base64::encode_string(hsm.pin.as_bytes()));
    }
    let kept = [child(&selkie, &pin)?, child(&selkie, &deks)?, child(&selkie, &traffic.needles)?];
    let pieces = traffic.needles.count() + deks.count() + pin.count();
    let messages = traffic.ciphertexts.len();
    let process = selkie.process.id();
    let found = deks.search(process)?;
    assert!(found.is_clean(), "DEKs: {found:?}");
    if pin.count() > 0 {
        let found = pin.search(process)?;
        assert!(found.is_clean(), "the PIN: {found:?}");
    }
    let [open, closed] = traffic.search(&selkie)?;
    assert!(open.is_clean() && closed.is_clean(), "open: {open:?}, closed: {closed:?}");
    let kept = kept.map(|found| found.unwrap_or_default());
    // Its PIN is how the child shows that this search finds what is there.
    assert!(deployment.hsm.is_none() || kept[0].keys > 0, "no PIN: {kept:?}");
    let [pins, deks, others] =
        kept.map(|found| found.raw + found.base64 + found.tokens + found.keys);
    evidence(
        "nothing secret is in a dump of the server, with connections open and after",
        COMMAND,
        format!(
            "{messages} messages, {pieces} pieces, {} MiB searched, 0 found; the HSM's child apart: \
             PIN {pins} (it logs in again), DEKs {deks} (the library's copies), others {others}",
            open.searched >> 20
        ),
        "the build without the hygiene holds plaintexts, base64, escaped JSON and tokens; the \
         HSM's child its PIN, the emulator its DEKs",
    )
}

/// The private number of a P-256 key, as it stands in PKCS #8 and the other way round, as machines
/// calculate with it.
fn number(pem: &str) -> Result<[Vec<u8>; 2]> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
    let der = der.secret_der();
    let start = der.windows(2).position(|two| two == [0x04, 0x20]).context("no number")? + 2;
    let number = der.get(start..start + 32).context("too short")?.to_owned();
    let reversed = number.iter().rev().copied().collect();
    Ok([number, reversed])
}

#[test]
fn keys_that_stay_are_in_no_dump_and_the_tls_key_is_counted() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let deployment = Deployment::new()?;
    let selkie = deployment.start()?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", selkie.process.id()))?;
    let pages = maps.matches("secretmem").count();
    if pages == 0 {
        return skip("secret memory", "a kernel with CONFIG_SECRETMEM");
    }
    Traffic::send(&deployment.clients(&selkie)?)?;
    let mut needles = Needles::default();
    for name in ["k1", "origin", "local", "audit"] {
        let key = fs::read(deployment.site.dir().join(name))?;
        needles.key(&key, &Base64::encode_string(&key));
    }
    let found = needles.search(selkie.process.id())?;
    assert!(found.is_clean(), "{found:?}");
    let mut tls = Needles::default();
    for number in number(&deployment.server.key)? {
        tls.key(&number, &Base64::encode_string(&number));
    }
    let tls = tls.search(selkie.process.id())?;
    assert!(tls.keys > 0, "the control: the TLS key lies in the heap, and is found");
    evidence(
        "static, origin, local and audit keys are in pages that no dump shows",
        COMMAND,
        format!(
            "{pages} secret pages, 0 pieces found in {} MiB; the TLS key of two listeners, in \
             aws-lc's heap: {} pieces",
            found.searched >> 20,
            tls.keys
        ),
        "the same search finds the TLS key",
    )
}

/// The envelope of the state key, as it stands in a file of the store.
fn state_envelope(directory: &Path) -> Result<Option<Value>> {
    const START: &[u8] = br#"{"ciphertext":""#;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(found) = state_envelope(&path)? {
                return Ok(Some(found));
            }
            continue;
        }
        let bytes = fs::read(&path)?;
        let starts = bytes.windows(START.len()).enumerate().filter(|(_, window)| *window == START);
        for (at, _) in starts {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(Ok(found)) = serde_json::Deserializer::from_slice(rest).into_iter().next()
            else {
                continue;
            };
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The state key of a store, opened as the holder of the static key `kek` can (I1).
fn state_key(directory: &Path, kek: &[u8]) -> Result<Vec<u8>> {
    let envelope = state_envelope(directory)?.context("no envelope in the store")?;
    let bytes = |text: &Value| -> Result<Vec<u8>> {
        let text = text.as_str().context("no text")?;
        Base64UrlUnpadded::decode_vec(text).map_err(anyhow::Error::msg)
    };
    let header: Value = serde_json::from_slice(&bytes(&envelope["protected"])?)?;
    ensure!(header["selkie"]["purpose"] == "state", "{header}");
    let wrapped = bytes(&envelope["recipients"][0]["encrypted_key"])?;
    let dek = AesKek::new(&AES_256, kek)?.unwrap(&wrapped, &mut [0; 48])?.to_owned();
    let dek = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &dek)?);
    let nonce = Nonce::try_assume_unique_for_key(&bytes(&envelope["iv"])?)?;
    let aad = Aad::from(envelope["protected"].as_str().context("no header")?.as_bytes());
    let mut sealed = [bytes(&envelope["ciphertext"])?, bytes(&envelope["tag"])?].concat();
    let key = dek.open_in_place(nonce, aad, &mut sealed)?.to_owned();
    ensure!(key.len() == 32, "a state key of {} bytes", key.len());
    Ok(key)
}

#[test]
fn the_state_key_of_a_store_on_disk_is_in_no_dump() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let mut site = Site::new()?;
    let store = site.dir().join("store");
    fs::create_dir(&store)?;
    site.extra = format!("storage \"sled\" {{ path = {store:?} }}\n");
    let token = site.client("c", &["root"], "")?;
    let mut selkie = site.start()?;
    let root = selkie.client().with_token(&token);
    until("the state is open", || {
        Ok((root.put("transit/keys/managed", &json!({}))?.status == 200).then_some(()))
    })?;
    let key = state_key(&store, &fs::read(site.dir().join("k1"))?)?;
    let mut needles = Needles::default();
    needles.key(&key, &Base64::encode_string(&key));
    let mut searched = Vec::new();
    // As it was made, as it was read, and at work all the while.
    for is_restarted in [false, true] {
        if is_restarted {
            selkie.stop()?;
            selkie.restart()?;
        }
        until("the state is open", || {
            Ok((root.put("auth/token/create", &json!({}))?.status == 200).then_some(()))
        })?;
        for number in 0..50 {
            let body = json!({ "ttl": format!("{}s", 60 + number) });
            ensure!(root.put("auth/token/create", &body)?.status == 200);
        }
        let found = needles.search(selkie.process.id())?;
        assert!(found.is_clean(), "restarted: {is_restarted}: {found:?}");
        searched.push(found.searched >> 20);
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", selkie.process.id()))?;
    if !maps.contains("secretmem") {
        return skip("secret memory", "a kernel with CONFIG_SECRETMEM");
    }
    let mut holder = Command::new("sleep");
    holder.arg("60").env("KEY", Base64::encode_string(&key));
    let holder = Process::start(holder)?;
    let held = until("it has begun", || {
        let held = needles.search(holder.id())?;
        Ok((held.keys > 0).then_some(held))
    })?;
    evidence(
        "the state key of a store on disk is in no dump, made or read",
        COMMAND,
        format!("opened with the static key alone; 0 pieces found in {searched:?} MiB"),
        &format!("the same search finds {} pieces in a process that has it", held.keys),
    )
}
