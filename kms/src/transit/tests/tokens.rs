//! What is made of the other server's answers about our token.

use super::fake::FakeEngine;
use super::*;

/// A provider whose token is kept alive, or whose way to the server needs none.
fn provider(server: &TestServer, token: TokenSource) -> TransitKms {
    let address = format!("http://{}", server.address);
    let settings = TransitSettings { token, disable_renewal: false, ..to(&address) };
    TransitKms::new(client(settings), key(), None).unwrap()
}

#[tokio::test]
async fn where_there_is_no_token_none_is_looked_up_or_renewed() {
    let (engine, server) = FakeEngine::start(1).await;
    let none = || (403, r#"{"errors":["permission denied"]}"#.to_owned());
    engine.fails(move |path| path.contains("/auth/token/").then(none));
    let kms = provider(&server, TokenSource::Nowhere);
    let steps = walked(&kms).await;
    assert!(!steps.iter().any(|one| matches!(one.finding, TransitFinding::Failed(_))), "{steps:?}");
    let asked = server.received();
    assert!(!asked.iter().any(|one| is_for(one, "/auth/token/")), "{asked:?}");
    assert_eq!(kms.client().token_standing(), TokenStanding::default());
}
