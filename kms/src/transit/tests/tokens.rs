//! What is made of the other server's answers about our token.

use super::fake::FakeEngine;
use super::*;
use crate::transit::renewal::Next;

const HOUR: u64 = 3600;
const DENIED: &str = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;

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

/// What the answers to a renewal and to a look-up come to: the trouble, the hours that the token has
/// left, rounded up, and whether it is tried again.
async fn attempted(
    renewal: (u16, &str),
    look_up: (u16, &str),
) -> (Option<TransitOutcome>, Option<u64>, Next) {
    let (engine, server) = FakeEngine::start(1).await;
    let [renewal, look_up] =
        [renewal, look_up].map(|(status, body): (u16, &str)| (status, body.to_owned()));
    engine.fails(move |path| match path {
        "/v1/auth/token/renew-self" => Some(renewal.clone()),
        "/v1/auth/token/lookup-self" => Some(look_up.clone()),
        _ => None,
    });
    let client = client_of(&server);
    let next = client.renewal.attempt(&client).await;
    let standing = client.token_standing();
    let trouble = standing.trouble.map(|trouble| trouble.outcome);
    (trouble, standing.expires_in.map(|left| left.as_secs().div_ceil(HOUR)), next)
}

/// Vault's word for it while the LDAP server is away that the token's login was made at.
const LDAP_IS_AWAY: &str =
    r#"{"errors":["ldap operation failed: failed to connect to LDAP server"]}"#;

#[tokio::test]
async fn one_refused_renewal_is_final_only_for_a_token_that_is_not_renewable() {
    for (look_up, left) in [
        ((200, r#"{"data":{"ttl":3600,"renewable":true}}"#), Some(1)),
        ((403, DENIED), None),
        ((503, r#"{"errors":["Vault is sealed"]}"#), None),
        ((200, "<html>gateway</html>"), None),
    ] {
        let (trouble, expires_in, next) = attempted((400, LDAP_IS_AWAY), look_up).await;
        assert_eq!(trouble, Some(TransitOutcome::TokenNotRenewable), "{look_up:?}");
        assert_eq!(expires_in, left, "{look_up:?}");
        assert!(matches!(next, Next::After(_)), "{look_up:?}: {next:?}");
    }
    for (renewal, look_up, left) in [
        ("batch tokens cannot be renewed", r#"{"data":{"ttl":3600,"renewable":false}}"#, Some(1)),
        ("lease is not renewable", r#"{"data":{"ttl":3600,"renewable":false}}"#, Some(1)),
        ("invalid lease ID", r#"{"data":{"ttl":0}}"#, None),
    ] {
        let renewal = serde_json::json!({ "errors": [renewal] }).to_string();
        let seen = attempted((400, &renewal), (200, look_up)).await;
        assert_eq!(seen, (None, left, Next::Rest), "{renewal}");
    }
}

/// Without the policy `default` it may do neither; with a policy for one of both, one of both.
#[tokio::test]
async fn a_token_that_may_not_renew_itself_is_looked_at_as_far_as_it_may() {
    let denied = Some(TransitOutcome::PolicyMissing);
    for (look_up, seen) in [
        ((403, DENIED), (denied, None)),
        ((200, r#"{"data":{"ttl":3600,"renewable":true}}"#), (denied, Some(1))),
        ((200, r#"{"data":{"ttl":3600,"renewable":false}}"#), (None, Some(1))),
        ((200, r#"{"data":{"ttl":0}}"#), (None, None)),
    ] {
        let (trouble, left, next) = attempted((403, DENIED), look_up).await;
        assert_eq!((trouble, left), seen, "{look_up:?}");
        assert_eq!(next == Next::Rest, trouble.is_none(), "{look_up:?}: {next:?}");
    }
}

#[tokio::test]
async fn the_walk_tries_what_the_server_will_do_with_its_token() {
    let renewed = (200, r#"{"auth":{"lease_duration":3600,"renewable":true}}"#);
    let seen = (200, r#"{"data":{"ttl":3600,"renewable":true}}"#);
    for (look_up, renewal, wanted) in [
        (seen, renewed, vec![]),
        (seen, (403, DENIED), vec!["auth/token/renew-self"]),
        (seen, (400, LDAP_IS_AWAY), vec!["periodic token"]),
        ((403, DENIED), renewed, vec!["auth/token/lookup-self"]),
        ((403, DENIED), (403, DENIED), vec!["auth/token/lookup-self", "auth/token/renew-self"]),
        // Of one that is not renewable no more is to be told than that, nor of one that lasts.
        ((200, r#"{"data":{"ttl":90,"renewable":false}}"#), (403, DENIED), vec!["periodic token"]),
        ((200, r#"{"data":{"ttl":0}}"#), (400, r#"{"errors":["invalid lease ID"]}"#), vec![]),
    ] {
        let (engine, server) = FakeEngine::start(1).await;
        engine.fails(move |path| match path {
            "/v1/auth/token/renew-self" => Some((renewal.0, renewal.1.to_owned())),
            "/v1/auth/token/lookup-self" => Some((look_up.0, look_up.1.to_owned())),
            _ => None,
        });
        let token = TokenSource::Given(Zeroizing::new("hvs.token".to_owned()));
        let steps = walked(&provider(&server, token)).await;
        let advice = steps.iter().filter(|one| one.hop == TransitHop::Token).filter_map(|one| {
            match &one.finding {
                TransitFinding::Passed(_) => None,
                TransitFinding::Warned(warning) => Some(warning.remedy()),
                TransitFinding::Failed(failed) => panic!("{failed}"),
            }
        });
        let advice: Vec<_> = advice.collect();
        assert_eq!(advice.len(), wanted.len(), "{look_up:?} {renewal:?}: {advice:?}");
        for (advice, wanted) in advice.iter().zip(&wanted) {
            assert!(advice.contains(wanted), "{look_up:?} {renewal:?}: {advice}");
        }
    }
}
