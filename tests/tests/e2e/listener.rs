//! Listeners: several of them, behind proxies, from systemd; and the end of a server's life.

use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{
    Client, Process, Request, Selkie, Signal, Site, binary, free_port, python, until,
};
use serde_json::json;

/// From the range that documentation uses: no machine here has it.
const FAR_CLIENT: &str = "203.0.113.77";

/// A server with these fields in its first listener.
fn served(listener: &str) -> Result<(Site, Selkie, Client)> {
    let mut site = Site::new()?;
    site.listener = listener.into();
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((site, selkie, client))
}

fn encryption() -> Request {
    Request::new("PUT", "transit/encrypt/autounseal").json(&json!({ "plaintext": "YQ==" }))
}

/// Waits for a line of the log that names the address.
fn assert_logged(selkie: &Selkie, address: &str) -> Result<()> {
    selkie.process.stderr_line(0, |line| line.contains(address).then_some(()))
}

#[test]
fn several_listeners_serve_the_same() -> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    site.extra += &format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{}\"\n  tls_disable = true\n}}\n",
        free_port()?
    );
    let selkie = site.start()?;
    assert_eq!(selkie.targets.len(), 2);
    let mut ciphertexts = Vec::new();
    for target in &selkie.targets {
        let client = Client::plain(target.address).with_token(&token);
        ciphertexts.push((client.clone(), client.send(encryption())?.field("ciphertext")?));
    }
    for ((client, _), (_, ciphertext)) in ciphertexts.iter().zip(ciphertexts.iter().rev()) {
        let body = json!({ "ciphertext": ciphertext });
        assert_eq!(client.put("transit/decrypt/autounseal", &body)?.status, 200);
    }
    Ok(())
}

#[test]
fn a_believed_proxys_header_names_the_client() -> Result<()> {
    let (_site, selkie, client) = served("x_forwarded_for_authorized_addrs = \"127.0.0.0/8\"")?;
    let forwarded = encryption().header("X-Forwarded-For", FAR_CLIENT);
    assert_eq!(client.send(forwarded)?.status, 200);
    assert_logged(&selkie, FAR_CLIENT)
}

#[test]
fn an_absent_header_is_refused_unless_that_is_allowed() -> Result<()> {
    let authorized = "x_forwarded_for_authorized_addrs = \"127.0.0.1\"\n  ";
    let (_site, _selkie, client) = served(authorized)?;
    assert_eq!(client.send(encryption())?.status, 400);
    let (_site, _selkie, client) =
        served(&format!("{authorized}x_forwarded_for_reject_not_present = false"))?;
    assert_eq!(client.send(encryption())?.status, 200);
    Ok(())
}

#[test]
fn a_strangers_header_is_refused_or_ignored() -> Result<()> {
    let authorized = "x_forwarded_for_authorized_addrs = \"10.1.2.3\"\n  ";
    let (_site, _selkie, client) = served(authorized)?;
    let forwarded = || encryption().header("X-Forwarded-For", FAR_CLIENT);
    assert_eq!(client.send(forwarded())?.status, 400);
    let (_site, selkie, client) =
        served(&format!("{authorized}x_forwarded_for_reject_not_authorized = false"))?;
    let forwarded = encryption().header("X-Forwarded-For", FAR_CLIENT);
    assert_eq!(client.send(forwarded)?.status, 200);
    assert_logged(&selkie, "127.0.0.1")?;
    assert!(!selkie.log().contains(FAR_CLIENT), "{}", selkie.log());
    Ok(())
}

#[test]
fn a_header_is_nothing_where_nobody_is_believed() -> Result<()> {
    let (_site, selkie, client) = served("")?;
    let forwarded = encryption().header("X-Forwarded-For", FAR_CLIENT);
    assert_eq!(client.send(forwarded)?.status, 200);
    assert!(!selkie.log().contains(FAR_CLIENT), "{}", selkie.log());
    Ok(())
}

fn proxied(client: &Client, header: &[u8]) -> Result<u16> {
    let mut connection = client.connect()?;
    connection.write(header)?;
    Ok(connection.send(encryption())?.status)
}

fn header_v1() -> Vec<u8> {
    format!("PROXY TCP4 {FAR_CLIENT} 127.0.0.1 4711 8200\r\n").into_bytes()
}

fn header_v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([203, 0, 113, 77, 127, 0, 0, 1, 0x12, 0x67, 0x20, 0x08]);
    header
}

#[test]
fn the_proxy_protocol_names_the_client_in_both_versions() -> Result<()> {
    for header in [header_v1(), header_v2()] {
        let (_site, selkie, client) = served(
            "proxy_protocol_behavior = \"deny_unauthorized\"\n  \
             proxy_protocol_authorized_addrs = \"127.0.0.1\"",
        )?;
        assert_eq!(proxied(&client, &header)?, 200);
        assert_logged(&selkie, FAR_CLIENT)?;
    }
    Ok(())
}

#[test]
fn the_proxy_protocol_is_believed_only_of_whom_the_configuration_names() -> Result<()> {
    let stranger = "proxy_protocol_authorized_addrs = \"10.1.2.3\"\n  proxy_protocol_behavior = ";
    let (_site, selkie, client) = served(&format!("{stranger}\"allow_authorized\""))?;
    assert_eq!(proxied(&client, &header_v1())?, 200, "ignored");
    assert!(!selkie.log().contains(FAR_CLIENT), "{}", selkie.log());
    let (_site, _selkie, client) = served(&format!("{stranger}\"deny_unauthorized\""))?;
    assert!(proxied(&client, &header_v1()).is_err(), "closed");
    let (_site, _selkie, client) = served("")?;
    assert_ne!(proxied(&client, &header_v1()).unwrap_or(400), 200, "garbage");
    Ok(())
}

/// Gives a listening socket to the program as systemd does: at descriptor 3, named in the
/// environment, with the program's own process id.
const ACTIVATE: &str = "
import os, socket, sys
port, program, *arguments = sys.argv[1:]
listener = socket.create_server(('127.0.0.1', int(port)))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='selkie')
os.execv(program, [program, *arguments])
";

#[test]
fn a_socket_from_systemd_is_served() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    for socket in ["\"selkie\"", "0"] {
        let mut site = Site::new()?;
        let token = site.client("c", &["root"], "")?;
        let port = free_port()?;
        let text = site.text();
        let address = format!("address = \"127.0.0.1:{}\"", site.port);
        let file = site.secret_file(
            "activated.hcl",
            text.replace(&address, &format!("activated_socket = {socket}")).as_bytes(),
        )?;
        let mut command = Command::new(&python);
        command.env_clear().args(["-c", ACTIVATE, &port.to_string()]).arg(binary()?);
        command.args(["server", "--config"]).arg(file);
        let process = Process::start(command)?;
        let line = process.stdout_line(|line| {
            line.strip_prefix("selkie: listening on http://").map(str::to_owned)
        })?;
        assert_eq!(line, format!("127.0.0.1:{port}"));
        let client = Client::plain(line.parse()?).with_token(&token);
        assert_eq!(client.send(encryption())?.status, 200);
    }
    Ok(())
}

#[test]
fn a_request_that_has_begun_is_finished_at_the_end() -> Result<()> {
    let (_site, mut selkie, client) = served("")?;
    let body = json!({ "plaintext": "QUFB".repeat(10_000) }).to_string();
    let mut begun = client.connect()?;
    let mut idle = client.connect()?;
    assert_eq!(idle.send(Request::new("GET", "sys/seal-status"))?.status, 200);
    let head = format!(
        "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        client.token.clone().context("no token")?,
        body.len()
    );
    begun.write(head.as_bytes())?;
    assert_eq!(begun.answer(false)?.status, 100, "it is being worked on");
    selkie.process.signal(Signal::TERM)?;
    assert_eq!(idle.rest()?, b"", "an idle connection is closed");
    until("new connections are refused", || Ok(client.connect().err()))?;
    assert!(selkie.process.is_running()?, "refused at once, not when all is over");
    begun.write(body.as_bytes())?;
    let answer = begun.answer(false)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(selkie.process.exit_code()?, 0);
    Ok(())
}

#[test]
fn a_server_without_work_ends_at_once() -> Result<()> {
    let (_site, mut selkie, client) = served("")?;
    assert_eq!(client.send(encryption())?.status, 200);
    selkie.stop()
}

#[test]
fn a_port_that_is_taken_is_told_and_ends_the_start() -> Result<()> {
    let (site, selkie, _client) = served("")?;
    let mut command = Command::new(binary()?);
    command.env_clear().args(["server", "--config"]).arg(site.write()?);
    let mut second = Process::start(command)?;
    assert_ne!(second.exit_code()?, 0);
    let said = second.stderr().join("\n");
    assert!(said.contains(&selkie.targets[0].address.to_string()), "{said}");
    Ok(())
}

/// Hyper's buffer stays as small as it begins, or goes: what it has grown by keeps earlier heads.
#[test]
fn a_large_body_leaves_a_connection_open_and_a_large_head_ends_it() -> Result<()> {
    let selkie = Selkie::dev(&[])?;
    let mut connection = selkie.root()?.connect()?;
    let body = json!({ "plaintext": "QUFB".repeat(100_000) });
    for _ in 0..3 {
        let sealed =
            connection.send(Request::new("PUT", "transit/encrypt/autounseal").json(&body))?;
        assert_eq!((sealed.status, sealed.header("connection")), (200, None));
    }
    let large = Request::new("GET", "sys/health").header("X-Filler", &"x".repeat(20_000));
    let answer = connection.send(large)?;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    Ok(())
}
