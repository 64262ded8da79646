//! What makes, opens and moves ciphertexts.

use super::*;

#[tokio::test]
async fn a_seal_client_encrypts_and_decrypts_with_its_scoped_token() {
    let api = Api::start().await;
    let made =
        api.send("s.vault", "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await;
    assert_eq!(made.status, StatusCode::OK);
    assert_eq!(made.json()["data"]["key_version"], 1);
    let ciphertext = made.json()["data"]["ciphertext"].clone();
    assert_eq!(ciphertext.as_str().unwrap().split(':').count(), 3);
    let body = json!({ "ciphertext": ciphertext });
    let opened = api.send("s.vault", "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(opened.json()["data"], json!({ "plaintext": "YQ==" }));
    for header in ["content-type", "cache-control"] {
        assert!(opened.headers.contains_key(header), "{header}");
    }
    assert_eq!(opened.headers["content-type"], "application/json");
}

/// Invariant I4.
#[tokio::test]
async fn uniform_failure_every_reason_inside_the_envelope_gets_the_same_answer() {
    let api = Api::start().await;
    for key in ["one", "two"] {
        api.send("s.root", "POST", &format!("transit/keys/{key}"), "{}").await;
    }
    let good = api.encrypt("one").await;
    let other = api.encrypt("two").await;
    let (head, body) = good.split_at("vault:v1:".len());
    let flipped = |at: usize| {
        let mut bytes = body.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        format!("{head}{}", String::from_utf8(bytes).unwrap())
    };
    let mut bodies = vec![
        other,
        format!("{head}AAAA"),
        head.to_owned(),
        good.replacen("v1", "v0", 1),
        format!("{head}{}", &body[..body.len() - 4]),
    ];
    bodies.extend((0..body.len() - 2).step_by(7).map(flipped));
    for ciphertext in bodies {
        let body = json!({ "ciphertext": ciphertext });
        let answer = api.send("s.root", "PUT", "transit/decrypt/one", body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (400, "{\"errors\":[\"cipher: message authentication failed\"]}\n"),
            "{ciphertext}"
        );
    }
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_names_each_failure() {
    let api = Api::start().await;
    let good = api.encrypt("unseal").await;
    let body = json!({ "batch_input": [
        { "ciphertext": good, "reference": "a" },
        { "ciphertext": "vault:v1:AAAA", "reference": "b" },
    ]});
    let answer = api.send("s.root", "PUT", "transit/decrypt/unseal", body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.json()["data"]["batch_results"],
        json!([
            { "plaintext": "aGVsbG8=", "reference": "a" },
            { "plaintext": "", "error": "cipher: message authentication failed", "reference": "b" },
        ])
    );
}

#[tokio::test]
async fn a_rewrap_moves_a_ciphertext_to_the_latest_version() {
    let api = Api::start().await;
    api.send("s.root", "POST", "transit/keys/k", "{}").await;
    let old = api.encrypt("k").await;
    api.send("s.root", "POST", "transit/keys/k/rotate", "").await;
    let body = json!({ "ciphertext": old });
    let answer = api.send("s.root", "POST", "transit/rewrap/k", body).await;
    let new = answer.json()["data"]["ciphertext"].as_str().unwrap().to_owned();
    assert!(new.starts_with("vault:v2:"));
    let opened =
        api.send("s.root", "POST", "transit/decrypt/k", json!({ "ciphertext": new })).await;
    assert_eq!(opened.json()["data"]["plaintext"], "aGVsbG8=");
}

#[tokio::test]
async fn faults_outside_the_envelope_have_vaults_own_words() {
    let api = Api::start().await;
    for (body, text) in [
        (json!({}), "missing ciphertext to decrypt"),
        (json!({ "ciphertext": "x" }), "invalid ciphertext: no prefix"),
        (json!({ "ciphertext": "vault:v1" }), "invalid ciphertext: wrong number of fields"),
        (
            json!({ "ciphertext": "vault:vx:AAAA" }),
            "invalid ciphertext: version number could not be decoded",
        ),
        (json!({ "ciphertext": "vault:v2:AAAA" }), "invalid ciphertext: version is too new"),
        (json!({ "ciphertext": "vault:v1:A" }), "invalid ciphertext: could not decode base64"),
    ] {
        let answer = api.send("s.vault", "PUT", "transit/decrypt/unseal", &body).await;
        assert_eq!(answer.error(), (400, text.to_owned()), "{body}");
    }
    let missing = api.send("s.root", "PUT", "transit/decrypt/none", json!({ "ciphertext": "x" }));
    assert_eq!(missing.await.error(), (400, "encryption key not found".to_owned()));
}

#[tokio::test]
async fn what_could_not_be_sent_to_be_decrypted_is_not_encrypted() {
    let limits = BodyLimits { bytes: 4096, ..BodyLimits::default() };
    let in_flight = InFlight::new(8, Duration::ZERO);
    let node = Arc::new(Node::start(config()).await.unwrap());
    let wide = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight.clone()));
    let api = Api(router(node, limits, in_flight));
    let plaintext = |bytes: usize| json!({ "plaintext": "YWFh".repeat(bytes / 3) });
    let too_large = (413, "http: request body too large".to_owned());
    let batch = json!({ "batch_input": [plaintext(3), plaintext(2400)] });
    for body in [plaintext(2400), batch] {
        assert!(body.to_string().len() < limits.bytes);
        let refused = api.send("s.vault", "PUT", "transit/encrypt/unseal", &body).await;
        assert_eq!(refused.error(), too_large);
        let made = wide.send("s.vault", "PUT", "transit/encrypt/unseal", &body).await;
        assert_eq!(made.status, StatusCode::OK);
    }
    let made = api.send("s.vault", "PUT", "transit/encrypt/unseal", plaintext(900)).await.json();
    let opened = api.send("s.vault", "PUT", "transit/decrypt/unseal", &made["data"]).await;
    assert_eq!(opened.json()["data"]["plaintext"], plaintext(900)["plaintext"]);
}
