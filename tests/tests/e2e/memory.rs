//! Invariant I3: after the reply nothing secret is anywhere in the process, while its connections
//! are open and after. The control is a build without the hygiene, in which the same search finds
//! plenty.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use selkie_tests::{
    Authority, Client, Connection, Findings, Needles, Request, Selkie, Site, binary, skip, token,
    until,
};
use serde_json::json;

pub(crate) const CONNECTIONS: usize = 64;
const SECRETS_PER_CONNECTION: usize = 5;

/// Whether the memory of other processes can be read here.
pub(crate) fn may_look() -> Result<bool> {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip("root, who alone may read the server's memory", "run the tests as root")?;
    }
    Ok(is_root)
}

/// What is sent, so that it can be searched for.
pub(crate) struct Traffic {
    pub(crate) needles: Needles,
    /// Who comes and goes.
    pub(crate) bystander: Client,
    pub(crate) connections: Vec<Connection>,
    /// What was encrypted by itself, not in a batch.
    pub(crate) ciphertexts: Vec<String>,
}

impl Traffic {
    /// The traffic of these clients.
    pub(crate) fn send(clients: &[Client]) -> Result<Self> {
        let bystander = clients.first().context("no client")?.without_token();
        let mut traffic = Self {
            needles: Needles::default(),
            bystander,
            connections: Vec::new(),
            ciphertexts: Vec::new(),
        };
        for client in clients {
            traffic.needles.token(client.token.as_deref().context("no token")?);
        }
        for (index, client) in clients.iter().cycle().take(CONNECTIONS).enumerate() {
            let mut connection = client.connect()?;
            traffic.serve(&mut connection, index, client)?;
            traffic.connections.push(connection);
        }
        Ok(traffic)
    }

    /// The kinds of requests go round, so that each is the last of some connection.
    fn serve(&mut self, connection: &mut Connection, index: usize, who: &Client) -> Result<()> {
        for _ in 0..SECRETS_PER_CONNECTION {
            self.round_trip(connection, 32)?;
        }
        match index % 16 {
            0 => self.round_trip(connection, 4 << 10),
            1 => self.round_trip(connection, 64 << 10),
            2 => self.refused(connection, |text| json!({ "plaintext": format!("{text}!") }), 400),
            3 => self.refused(connection, |text| json!({ "plaintext": [text, { "x": 1 }] }), 400),
            4 => self.refused(connection, |text| json!([text]), 400),
            5 => self.denied(connection),
            6 => self.batch(connection),
            7 => self.round_trip(connection, 4 << 20),
            8 => self.escaped(connection),
            9 => self.rewrapped(connection),
            10 => self.abandoned(connection, who),
            11 => self.unfinished(connection),
            12 => self.forbidden(connection),
            13 => self.round_trip(connection, 1),
            14 => self.refused(connection, |text| json!({ "plaintext": "!", "x": text }), 400),
            _ => self.round_trip(connection, 48),
        }
    }

    /// Base64 as JSON may write it too: one character escaped, the next not.
    fn escaped(&mut self, connection: &mut Connection) -> Result<()> {
        let text = self.secret(3 << 10)?;
        let escape = |(at, character): (usize, char)| match at % 2 {
            0 => format!("\\u{:04x}", u32::from(character)),
            _ => character.to_string(),
        };
        let escaped: String = text.chars().enumerate().map(escape).collect();
        self.needles.escaped(&escaped);
        let request = Request::new("PUT", "transit/encrypt/autounseal");
        let answer = connection.send(request.body(format!("{{\"plaintext\":\"{escaped}\"}}")))?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(())
    }

    fn rewrapped(&mut self, connection: &mut Connection) -> Result<()> {
        self.round_trip(connection, 48)?;
        let ciphertext = self.ciphertexts.last().context("none is encrypted")?;
        let body = json!({ "ciphertext": ciphertext });
        let again =
            connection.send(Request::new("PUT", "transit/rewrap/autounseal").json(&body))?;
        self.ciphertexts.push(again.field("ciphertext")?);
        Ok(())
    }

    /// Clients that hang up: in the middle of a body, and before they have read their plaintext.
    fn abandoned(&mut self, connection: &mut Connection, who: &Client) -> Result<()> {
        let text = self.secret(48 << 10)?;
        let body = json!({ "plaintext": text }).to_string();
        let ciphertext = encrypt(connection, &json!({ "plaintext": text }))?.field("ciphertext")?;
        let token = who.token.as_deref().context("no token")?;
        for (operation, body, sent) in [
            ("encrypt", body, 40 << 10),
            ("decrypt", json!({ "ciphertext": ciphertext }).to_string(), usize::MAX),
        ] {
            let request = Request::new("PUT", &format!("transit/{operation}/autounseal"));
            let bytes = request.header("X-Vault-Token", token).body(body).bytes();
            let mut going = who.connect()?;
            going.write(bytes.get(..sent.min(bytes.len())).unwrap_or_default())?;
        }
        Ok(())
    }

    /// A body whose JSON ends too early.
    fn unfinished(&mut self, connection: &mut Connection) -> Result<()> {
        let text = self.secret(4 << 10)?;
        let request = Request::new("PUT", "transit/encrypt/autounseal");
        let answer = connection.send(request.body(format!("{{\"plaintext\":\"{text}")))?;
        ensure!(answer.status == 400, "{} {}", answer.status, answer.text());
        Ok(())
    }

    /// A known client that asks for what it may not: whose body is read all the same, or not.
    fn forbidden(&mut self, connection: &mut Connection) -> Result<()> {
        let text = self.secret(4 << 10)?;
        let request = Request::new("PUT", "transit/no-such-operation/autounseal");
        let answer = connection.send(request.json(&json!({ "plaintext": text })))?;
        ensure!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text());
        Ok(())
    }

    fn secret(&mut self, length: usize) -> Result<String> {
        let mut secret = vec![0; length];
        getrandom::fill(&mut secret)?;
        let text = Base64::encode_string(&secret);
        // One byte is everywhere.
        if length > 1 {
            self.needles.plaintext(&secret, &text);
        }
        Ok(text)
    }

    pub(crate) fn round_trip(&mut self, connection: &mut Connection, length: usize) -> Result<()> {
        let text = self.secret(length)?;
        let sealed = encrypt(connection, &json!({ "plaintext": text }))?;
        ensure!(sealed.status == 200, "{}", sealed.text());
        let ciphertext = sealed.field("ciphertext")?;
        let body = json!({ "ciphertext": ciphertext });
        let opened =
            connection.send(Request::new("PUT", "transit/decrypt/autounseal").json(&body))?;
        ensure!(opened.field("plaintext")? == text, "another plaintext");
        self.ciphertexts.push(ciphertext);
        Ok(())
    }

    fn refused(
        &mut self,
        connection: &mut Connection,
        body: impl Fn(&str) -> serde_json::Value,
        status: u16,
    ) -> Result<()> {
        let text = self.secret(32)?;
        let answer = encrypt(connection, &body(&text))?;
        ensure!(answer.status == status, "{} {}", answer.status, answer.text());
        Ok(())
    }

    fn denied(&mut self, connection: &mut Connection) -> Result<()> {
        let wrong = token()?;
        self.needles.token(&wrong);
        let right = connection.token.replace(wrong);
        self.refused(connection, |text| json!({ "plaintext": text }), 403)?;
        connection.token = right;
        Ok(())
    }

    fn batch(&mut self, connection: &mut Connection) -> Result<()> {
        let texts: Vec<_> = (0..20).map(|_| self.secret(48)).collect::<Result<_>>()?;
        let items: Vec<_> = texts.iter().map(|text| json!({ "plaintext": text })).collect();
        let sealed = encrypt(connection, &json!({ "batch_input": items }))?;
        let items = sealed.data()?["batch_results"].clone();
        let body = json!({ "batch_input": items });
        let opened =
            connection.send(Request::new("PUT", "transit/decrypt/autounseal").json(&body))?;
        ensure!(opened.data()?["batch_results"][19]["plaintext"] == texts[19], "{}", opened.text());
        Ok(())
    }

    /// What is found with the connections open, and after their end.
    pub(crate) fn search(self, selkie: &Selkie) -> Result<[Findings; 2]> {
        let process = selkie.process.id();
        // An answer to somebody else: by now, all earlier ones have left the server.
        ensure!(self.bystander.get("sys/health")?.status == 200);
        let sockets = sockets(process)?;
        let open = self.needles.search(process)?;
        drop(self.connections);
        until("the connections are closed", || {
            Ok((sockets_now(process)? + CONNECTIONS <= sockets + 1).then_some(()))
        })?;
        Ok([open, self.needles.search(process)?])
    }
}

fn encrypt(connection: &mut Connection, body: &serde_json::Value) -> Result<selkie_tests::Answer> {
    connection.send(Request::new("PUT", "transit/encrypt/autounseal").json(body))
}

/// The number of sockets that a process holds, once that includes all connections.
fn sockets(process: u32) -> Result<usize> {
    until("the connections are open", || {
        Ok(Some(sockets_now(process)?).filter(|count| *count > CONNECTIONS))
    })
}

fn sockets_now(process: u32) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that is closed meanwhile is none.
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        count += usize::from(target.to_string_lossy().starts_with("socket:"));
    }
    Ok(count)
}

pub(crate) fn assert_clean(selkie: &Selkie, traffic: Traffic) -> Result<()> {
    let [open, closed] = traffic.search(selkie)?;
    assert!(open.searched > 1 << 20 && closed.searched > 1 << 20, "{open:?} {closed:?}");
    assert!(open.is_clean() && closed.is_clean(), "open: {open:?}, closed: {closed:?}");
    Ok(())
}

/// A site with as many clients as connections, each with a token of its own.
fn site() -> Result<(Site, Vec<String>)> {
    let mut site = Site::new()?;
    let tokens = (0..CONNECTIONS).map(|i| site.client(&format!("c{i}"), &["root"], ""));
    let tokens = tokens.collect::<Result<_>>()?;
    Ok((site, tokens))
}

#[test]
fn no_secret_stays_in_a_server_of_plain_http() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let (site, tokens) = site()?;
    let selkie = site.start()?;
    let clients: Vec<_> = tokens.iter().map(|token| selkie.client().with_token(token)).collect();
    assert_clean(&selkie, Traffic::send(&clients)?)
}

#[test]
fn no_secret_stays_in_a_server_of_tls() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let (mut site, tokens) = site()?;
    let plain_port = selkie_tests::free_port()?;
    let authority = Authority::new()?;
    let (cert, key) = authority.issue("selkie")?.write(site.dir())?;
    site.extra += &format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{plain_port}\"\n  tls_cert_file = {cert:?}\n  \
         tls_key_file = {key:?}\n}}\n"
    );
    let selkie = site.start()?;
    let address = selkie.targets.iter().find(|target| target.is_tls).context("no TLS")?.address;
    let trusted = authority.trusted()?;
    let clients = tokens.iter().map(|token| Client {
        tls: Some(trusted.clone()),
        ..Client::plain(address).with_token(token)
    });
    assert_clean(&selkie, Traffic::send(&clients.collect::<Vec<_>>())?)
}

#[test]
fn no_secret_stays_in_dev_mode() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    for arguments in [&[][..], &["--dev-tls"]] {
        let selkie = Selkie::dev_of(&binary()?, arguments)?;
        assert_clean(&selkie, Traffic::send(&[selkie.root()?])?)?;
    }
    Ok(())
}

#[test]
fn no_master_key_is_in_memory_that_can_be_read() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let (site, tokens) = site()?;
    let selkie = site.start()?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", selkie.process.id()))?;
    if !maps.contains("secretmem") {
        return skip("secret memory", "a kernel with CONFIG_SECRETMEM");
    }
    let client = selkie.client().with_token(tokens.first().context("no token")?);
    for _ in 0..100 {
        let sealed = encrypt(&mut client.connect()?, &json!({ "plaintext": "YQ==" }))?;
        let body = json!({ "ciphertext": sealed.field("ciphertext")? });
        assert_eq!(client.put("transit/decrypt/autounseal", &body)?.status, 200);
    }
    let key = fs::read(site.dir().join("k1"))?;
    let mut needles = Needles::default();
    needles.plaintext(&key, &Base64::encode_string(&key));
    let found = needles.search(selkie.process.id())?;
    assert!(found.is_clean(), "{found:?}");
    Ok(())
}

/// The build without the hygiene, which exists for this control alone.
pub(crate) fn unhygienic() -> Result<Option<PathBuf>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/unhygienic/release/selkie");
    if !path.exists() {
        skip("the build without memory hygiene", "make build")?;
        return Ok(None);
    }
    Ok(Some(path))
}

#[test]
fn control_the_same_search_finds_plenty_without_the_hygiene() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let Some(program) = unhygienic()? else { return Ok(()) };
    for arguments in [&[][..], &["--dev-tls"]] {
        let selkie = Selkie::dev_of(&program, arguments)?;
        let found = Traffic::send(&[selkie.root()?])?.search(&selkie)?;
        let [open, closed] = found;
        // Raw plaintexts are wiped by their types, in this build too.
        let classes = [open.base64, open.encoded, open.tokens];
        assert!(classes.iter().all(|hits| *hits > 0), "{arguments:?}: {open:?}");
        assert!(!closed.is_clean(), "{arguments:?}: {closed:?}");
    }
    Ok(())
}

#[test]
fn the_build_without_the_hygiene_serves_in_dev_mode_only() -> Result<()> {
    let Some(program) = unhygienic()? else { return Ok(()) };
    let site = Site::new()?;
    let mut command = std::process::Command::new(program);
    command.env_clear().args(["server", "--config"]).arg(site.write()?);
    let mut process = selkie_tests::Process::start(command)?;
    assert_ne!(process.exit_code()?, 0, "{:?}", process.stderr());
    Ok(())
}
