//! What a call comes to that does not go well.

use super::*;

#[tokio::test]
async fn garbage_is_no_answer() {
    for body in [
        "",
        "null",
        "<html>gateway</html>",
        r#"{"data":{"ciphertext":7}}"#,
        r#"{"data":{"plaintext":"%%%%"}}"#,
        r#"{"errors":[]}"#,
    ] {
        let server = TestServer::plain(move |_| answer(200, body)).await;
        let client = client_of(&server);
        let encrypted = client.encrypt(&key(), None, b"a").await;
        assert!(matches!(encrypted, Err(KmsError::Misbehaved(_))), "{body}: {encrypted:?}");
        assert_eq!(outcome(encrypted), (TransitHop::Encrypt, TransitOutcome::AnswerWrong));
        let decrypted = client.decrypt(&key(), "vault:v1:x", b"", b"").await;
        assert!(matches!(decrypted, Err(KmsError::Misbehaved(_))), "{body}: {decrypted:?}");
        let read = client.read_key(&key()).await;
        assert!(matches!(read, Err(KmsError::Misbehaved(_))), "{body}: {read:?}");
    }
}

#[tokio::test]
async fn each_refusal_becomes_the_error_that_a_caller_can_act_on() {
    for (status, text, is_right) in [
        (400, "cipher: message authentication failed", {
            (|error| matches!(error, KmsError::Rejected(_))) as fn(&KmsError) -> bool
        }),
        (400, "encryption key not found", |error| matches!(error, KmsError::UnknownKek(_))),
        (403, "permission denied", |error| matches!(error, KmsError::Denied(_))),
        (404, "no handler for route 'a/b'", |error| matches!(error, KmsError::UnknownKek(_))),
        (429, "quota", |error| matches!(error, KmsError::Throttled { .. })),
        (503, "Vault is sealed", |error| matches!(error, KmsError::Unavailable(_))),
        (500, "internal error", |error| matches!(error, KmsError::Unavailable(_))),
    ] {
        let body = serde_json::json!({ "errors": [text] }).to_string();
        let server = TestServer::plain(move |_| answer(status, &body)).await;
        let error = client_of(&server).decrypt(&key(), "vault:v1:x", b"", b"").await.unwrap_err();
        assert!(is_right(&error), "{status} {text}: {error:?}");
        let shown = format!("{error} {}", TransitDiagnosis::of(&error).unwrap());
        assert!(!shown.contains("internal error"), "no text of the server's is kept");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let failed = client(to("http://127.0.0.1:1")).encrypt(&key(), None, b"a").await;
    assert!(matches!(failed, Err(KmsError::Unavailable(_))), "{failed:?}");
    assert_eq!(outcome(failed), (TransitHop::Tcp, TransitOutcome::NotConnected));
}
