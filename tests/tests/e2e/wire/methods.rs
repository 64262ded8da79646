//! Methods, paths and headers.

use anyhow::Result;
use selkie_tests::{Request, Selkie};
use serde_json::json;

use super::dev;
use crate::answer::{assert_envelope, assert_refused};

const UNSUPPORTED_OPERATION: &str = "1 error occurred:\n\t* unsupported operation\n\n";
const UNSUPPORTED_PATH: &str = "1 error occurred:\n\t* unsupported path\n\n";

#[test]
fn put_and_post_are_the_same() -> Result<()> {
    let (_selkie, root) = dev()?;
    for method in ["PUT", "POST"] {
        let request = Request::new(method, "transit/encrypt/autounseal");
        assert_envelope(&root.send(request.json(&json!({ "plaintext": "YQ==" })))?)?;
    }
    Ok(())
}

#[test]
fn no_content_type_is_needed_and_none_is_wrong() -> Result<()> {
    let (_selkie, root) = dev()?;
    for content_type in [
        "application/json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/merge-patch+json",
        "nonsense",
    ] {
        let request = Request::new("PUT", "transit/encrypt/autounseal")
            .header("Content-Type", content_type)
            .json(&json!({ "plaintext": "YQ==" }));
        assert_envelope(&root.send(request)?)?;
    }
    Ok(())
}

#[test]
fn a_real_form_is_read_as_one() -> Result<()> {
    let (_selkie, root) = dev()?;
    let request = Request::new("PUT", "transit/encrypt/autounseal")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("plaintext=YQ%3D%3D");
    assert_envelope(&root.send(request)?)?;
    Ok(())
}

#[test]
fn what_an_operation_does_not_know_is_a_405() -> Result<()> {
    let (_selkie, root) = dev()?;
    for method in ["GET", "DELETE", "HEAD", "PATCH"] {
        let answer = root.send(Request::new(method, "transit/encrypt/autounseal"))?;
        assert_eq!(answer.status, 405, "{method}");
    }
    let answer = root.get("transit/encrypt/autounseal")?;
    assert_refused(&answer, 405, UNSUPPORTED_OPERATION);
    Ok(())
}

#[test]
fn paths_that_lead_nowhere_are_vaults_404() -> Result<()> {
    let (_selkie, root) = dev()?;
    let nowhere = "no handler for route \"nowhere/x\". route entry not found.";
    assert_refused(&root.get("nowhere/x")?, 404, nowhere);
    assert_refused(&root.get("transit/nonsense")?, 404, UNSUPPORTED_PATH);
    let answer = root.put("transit/encrypt/autounseal/", &json!({ "plaintext": "" }))?;
    assert_refused(&answer, 400, "cannot write to a path ending in '/'");
    Ok(())
}

#[test]
fn relative_paths_are_refused() -> Result<()> {
    let (_selkie, root) = dev()?;
    for path in ["transit/keys/../keys/autounseal", "transit/%2e%2e/sys/mounts"] {
        let answer = root.get(path)?;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
    Ok(())
}

#[test]
fn what_is_not_under_v1_is_no_vault_path() -> Result<()> {
    let (_selkie, root) = dev()?;
    for target in ["/", "/v2/transit/keys", "/index.html", "/v1"] {
        let answer = root.send(Request::absolute("GET", target))?;
        assert!(matches!(answer.status, 307 | 404), "{target}: {}", answer.status);
    }
    Ok(())
}

#[test]
fn headers_of_namespaces_and_wrapping_change_nothing_on_seal_paths() -> Result<()> {
    let (_selkie, root) = dev()?;
    for path in ["transit/encrypt/autounseal", "transit/encrypt/k"] {
        let request = Request::new("PUT", path)
            .header("X-Vault-Namespace", "team/a/")
            .header("X-Vault-Wrap-TTL", "60s")
            .header("X-Vault-Request", "true")
            .header("X-Vault-Index", "nonsense")
            .header("Accept-Encoding", "gzip");
        let answer = root.send(request.json(&json!({ "plaintext": "YQ==" })))?;
        assert_envelope(&answer)?;
        assert_eq!(answer.header("x-vault-namespace"), Some("team/a/"));
        assert_eq!(answer.header("content-encoding"), None);
    }
    Ok(())
}

#[test]
fn expect_100_continue_is_answered_before_the_body_comes() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "QUFB".repeat(1000) }).to_string();
    let mut connection = root.connect()?;
    let head = format!(
        "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        root.token.unwrap_or_default(),
        body.len()
    );
    connection.write(head.as_bytes())?;
    assert_eq!(connection.answer(false)?.status, 100);
    connection.write(body.as_bytes())?;
    assert_envelope(&connection.answer(false)?)?;
    Ok(())
}

#[test]
fn chunked_bodies_are_read() -> Result<()> {
    let (_selkie, root) = dev()?;
    let mut connection = root.connect()?;
    let head = format!(
        "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        root.token.unwrap_or_default()
    );
    connection.write(head.as_bytes())?;
    for piece in ["{\"plain", "text\":\"Y", "Q==\"}"] {
        connection.write(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
    }
    connection.write(b"0\r\n\r\n")?;
    assert_envelope(&connection.answer(false)?)?;
    Ok(())
}

#[test]
fn a_connection_serves_one_request_after_another() -> Result<()> {
    let (_selkie, root) = dev()?;
    let mut connection = root.connect()?;
    for _ in 0..20 {
        let request = Request::new("PUT", "transit/encrypt/autounseal");
        assert_envelope(&connection.send(request.json(&json!({ "plaintext": "YQ==" })))?)?;
        let refused = connection.send(Request::new("GET", "transit/nonsense"))?;
        assert_eq!(refused.status, 404);
    }
    Ok(())
}

#[test]
fn every_answer_has_a_request_id_of_its_own() -> Result<()> {
    let (_selkie, root) = dev()?;
    let id = || anyhow::Ok(root.get("transit/keys/autounseal")?.json()["request_id"].to_string());
    assert_ne!(id()?, id()?);
    Ok(())
}

#[test]
fn a_mount_of_several_segments_serves() -> Result<()> {
    let mut site = selkie_tests::Site::new()?;
    site.keys = "mount \"team/a/transit\" {}\nkey \"autounseal\" {}\n".into();
    let token = site.client("admin", &["root"], "")?;
    let selkie: Selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    let answer =
        client.put("team/a/transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    assert_envelope(&answer)?;
    let text = "no handler for route \"transit/keys/autounseal\". route entry not found.";
    assert_refused(&client.get("transit/keys/autounseal")?, 404, text);
    Ok(())
}
