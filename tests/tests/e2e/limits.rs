//! Invariant I10: whatever a client does, the others are served.

use anyhow::{Context, Result};
use selkie_tests::{Client, Connection, Request, Selkie, Site, raise_open_files};
use serde_json::{Value, json};

use crate::answer::{assert_envelope, assert_refused};

/// A server with these fields in its listener.
fn served(listener: &str) -> Result<(Site, Selkie, Client)> {
    let mut site = Site::new()?;
    site.listener = listener.into();
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((site, selkie, client))
}

fn assert_works(client: &Client) -> Result<()> {
    let body = json!({ "plaintext": "YQ==" });
    let sealed = client.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
    let body = json!({ "ciphertext": sealed });
    assert_eq!(client.put("transit/decrypt/autounseal", &body)?.field("plaintext")?, "YQ==");
    Ok(())
}

/// A connection on which a request with a body of this length has begun.
fn begun(client: &Client, headers: &str) -> Result<Connection> {
    let mut connection = client.connect()?;
    let token = client.token.clone().context("no token")?;
    let head = format!(
        "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n\
         {headers}\r\n\r\n"
    );
    connection.write(head.as_bytes())?;
    Ok(connection)
}

const TOO_LARGE: &str = "http: request body too large";

#[test]
fn a_body_of_33_mib_is_refused() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let body = vec![b' '; 33 << 20];
    let answer = client.send(Request::new("PUT", "transit/encrypt/autounseal").body(body))?;
    assert_refused(&answer, 413, TOO_LARGE);
    assert_works(&client)
}

#[test]
fn a_body_that_announces_33_mib_is_refused_before_it_comes() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let headers = format!("Expect: 100-continue\r\nContent-Length: {}", 33 << 20);
    let mut connection = begun(&client, &headers)?;
    assert_refused(&connection.answer(false)?, 413, TOO_LARGE);
    assert_works(&client)
}

#[test]
fn chunks_of_33_mib_are_refused() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let mut connection = begun(&client, "Transfer-Encoding: chunked")?;
    let chunk = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    for _ in 0..33 {
        // The server may have stopped reading by now.
        if connection.write(&chunk).is_err() {
            break;
        }
    }
    assert_refused(&connection.answer(false)?, 413, TOO_LARGE);
    assert_works(&client)
}

#[test]
fn a_body_of_31_mib_is_served() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let items = vec![json!({ "plaintext": "QUFB".repeat((1 << 20) / 4) }); 31];
    let sealed = client.put("transit/encrypt/autounseal", &json!({ "batch_input": items }))?;
    let results = assert_envelope(&sealed)?["batch_results"].clone();
    let results = results.as_array().context("no results")?;
    assert_eq!(results.len(), 31);
    assert!(results.iter().all(|item| item["ciphertext"].is_string()));
    assert_works(&client)
}

#[test]
fn a_plaintext_whose_ciphertext_no_request_could_bring_back_is_refused() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let body = json!({ "plaintext": "QUFB".repeat((31 << 20) / 4) });
    assert_refused(&client.put("transit/encrypt/autounseal", &body)?, 413, TOO_LARGE);
    assert_works(&client)
}

#[test]
fn a_smaller_limit_is_kept_too() -> Result<()> {
    let (_site, _selkie, client) = served("max_request_size = 1000")?;
    let body = json!({ "plaintext": "QUFB".repeat(300) });
    assert_refused(&client.put("transit/encrypt/autounseal", &body)?, 413, TOO_LARGE);
    assert_works(&client)
}

#[test]
fn a_batch_of_10_000_items_is_served() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let items = vec![json!({ "plaintext": "YQ==" }); 10_000];
    let sealed = client.put("transit/encrypt/autounseal", &json!({ "batch_input": items }))?;
    let items = assert_envelope(&sealed)?["batch_results"].clone();
    let opened = client.put("transit/decrypt/autounseal", &json!({ "batch_input": items }))?;
    let results = assert_envelope(&opened)?["batch_results"].clone();
    let results = results.as_array().context("no results")?;
    assert_eq!(results.len(), 10_000);
    assert!(results.iter().all(|item| item["plaintext"] == "YQ=="));
    Ok(())
}

#[test]
fn headers_that_do_not_end_are_cut() -> Result<()> {
    let (_site, _selkie, client) = served("http_read_header_timeout = \"1s\"")?;
    for start in ["", "PUT /v1/", "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\n"] {
        let mut slow = client.connect()?;
        slow.write(start.as_bytes())?;
        assert_works(&client)?;
        let rest = String::from_utf8_lossy(&slow.rest()?).into_owned();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{start:?}: {rest}");
    }
    Ok(())
}

#[test]
fn a_body_that_does_not_end_is_cut() -> Result<()> {
    let (_site, _selkie, client) = served("http_read_timeout = \"1s\"")?;
    let mut slow = begun(&client, "Content-Length: 1000")?;
    slow.write(b"{\"plaintext\":\"")?;
    assert_works(&client)?;
    let rest = String::from_utf8_lossy(&slow.rest()?).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    assert_works(&client)
}

#[test]
fn an_idle_connection_is_closed() -> Result<()> {
    let (_site, _selkie, client) = served("http_idle_timeout = \"1s\"")?;
    let mut idle = client.connect()?;
    assert_eq!(idle.send(Request::new("GET", "sys/health"))?.status, 200);
    assert_eq!(idle.rest()?, b"");
    Ok(())
}

#[test]
fn too_many_and_too_long_headers_are_refused() -> Result<()> {
    let (_site, _selkie, client) = served("")?;
    let many = (0..10_000).map(|i| format!("X-{i}: y\r\n")).collect::<String>();
    for headers in [many, format!("X-Long: {}", "y".repeat(4 << 20))] {
        let answer = begun(&client, headers.trim_end()).and_then(|mut c| c.answer(false));
        // A server that stops reading may be gone before its answer is read.
        if let Ok(answer) = answer {
            assert!(matches!(answer.status, 400 | 431), "{}", answer.status);
        }
        assert_works(&client)?;
    }
    Ok(())
}

/// What eight clients get who each send a batch that takes a while, at once.
fn crowd(client: &Client, batch: &Value) -> Result<Vec<u16>> {
    std::thread::scope(|scope| {
        let send = || anyhow::Ok(client.put("transit/encrypt/autounseal", batch)?.status);
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        let join = |sender: std::thread::ScopedJoinHandle<'_, Result<u16>>| {
            sender.join().map_err(|_panic| anyhow::anyhow!("a sender failed"))?
        };
        senders.into_iter().map(join).collect()
    })
}

#[test]
fn overload_is_answered_with_503_and_never_with_429() -> Result<()> {
    let (_site, _selkie, client) = served("max_in_flight_requests = 1")?;
    let items = vec![json!({ "plaintext": "YQ==" }); 15_000];
    let batch = json!({ "batch_input": items });
    selkie_tests::until("a request is one too many", || {
        let statuses = crowd(&client, &batch)?;
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        Ok(statuses.contains(&503).then_some(()))
    })?;
    assert_works(&client)
}

#[test]
fn who_sends_slowly_takes_no_place_from_others() -> Result<()> {
    let (_site, _selkie, client) = served("max_in_flight_requests = 1")?;
    let body = json!({ "plaintext": "YQ==" }).to_string();
    let headers = format!("Expect: 100-continue\r\nContent-Length: {}", body.len());
    let mut slow = begun(&client, &headers)?;
    assert_eq!(slow.answer(false)?.status, 100, "its body is waited for");
    assert_works(&client)?;
    slow.write(body.as_bytes())?;
    assert_envelope(&slow.answer(false)?)?;
    Ok(())
}

#[test]
fn overload_is_no_reason_to_be_called_unhealthy() -> Result<()> {
    let (_site, _selkie, client) = served("max_in_flight_requests = 1")?;
    let mut occupying = begun(&client, "Expect: 100-continue\r\nContent-Length: 9")?;
    assert_eq!(occupying.answer(false)?.status, 100, "it is being worked on");
    // I10: health says 503 only when no key at all can be served.
    assert_eq!(client.get("sys/health")?.status, 200);
    Ok(())
}

#[test]
fn idle_connections_beyond_the_limit_do_not_lock_others_out_for_good() -> Result<()> {
    let (_site, _selkie, client) = served("max_connections = 10")?;
    let idle = (0..50).map(|_| client.connect()).collect::<Result<Vec<_>>>()?;
    drop(idle);
    selkie_tests::until("an honest client is served", || {
        Ok(client.get("sys/health").ok().filter(|answer| answer.status == 200))
    })?;
    assert_works(&client)
}

#[test]
fn a_thousand_idle_connections_do_not_disturb() -> Result<()> {
    raise_open_files()?;
    let (_site, _selkie, client) = served("")?;
    let idle = (0..1_000).map(|_| client.connect()).collect::<Result<Vec<_>>>()?;
    assert_works(&client)?;
    drop(idle);
    assert_works(&client)
}
