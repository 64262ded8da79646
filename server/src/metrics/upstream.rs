//! How it stands with the tokens that seals have at other servers, as of now.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selkie_kms::transit::TokenStanding;

use super::OfSeal;
use crate::seal::Seals;

#[derive(Default)]
struct Upstreams {
    expires: Family<OfSeal, Gauge>,
    renewed: Family<OfSeal, Gauge>,
    failing: Family<OfSeal, Gauge>,
}

/// Registers what is known of the tokens of `seals` at `now`, in seconds since 1970.
pub(super) fn register(registry: &mut Registry, seals: &Seals, now: u64) {
    let upstreams = Upstreams::default();
    for seal in seals.iter() {
        if let Some(standing) = seal.connection.upstream_token() {
            upstreams.take(seal.name().as_str(), &standing, now);
        }
    }
    upstreams.register(registry);
}

/// Those of one made-up seal.
#[cfg(test)]
pub(super) fn register_example(registry: &mut Registry) {
    let upstreams = Upstreams::default();
    upstreams.take("bridge", &tests::standing(), 1_000);
    upstreams.register(registry);
}

impl Upstreams {
    fn take(&self, seal: &str, standing: &TokenStanding, now: u64) {
        let label = OfSeal { seal: seal.to_owned() };
        if let Some(left) = standing.expires_in {
            let expires = now.saturating_add(left.as_secs());
            let expires = i64::try_from(expires).unwrap_or(i64::MAX);
            self.expires.get_or_create(&label).set(expires);
        }
        let is_renewed = standing.is_renewed && standing.trouble.is_none();
        self.renewed.get_or_create(&label).set(i64::from(is_renewed));
        self.failing.get_or_create(&label).set(i64::from(standing.trouble.is_some()));
    }

    fn register(self, registry: &mut Registry) {
        let help = "When the seal's token at its upstream expires, as far as that is known";
        registry.register("upstream_token_expires_timestamp_seconds", help, self.expires);
        let help =
            "1 if the seal's token at its upstream is renewed, and the last renewal succeeded";
        registry.register("upstream_token_renewed", help, self.renewed);
        let help = "1 if the last renewal of the seal's token at its upstream failed";
        registry.register("upstream_token_renewal_failing", help, self.failing);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use selkie_kms::transit::{TransitDiagnosis, TransitHop, TransitOutcome};

    use super::*;

    pub(super) fn standing() -> TokenStanding {
        let expires_in = Some(Duration::from_secs(60));
        TokenStanding { expires_in, is_renewed: true, trouble: None }
    }

    fn told(standing: &TokenStanding) -> String {
        let upstreams = Upstreams::default();
        upstreams.take("bridge", standing, 1_000);
        let mut registry = Registry::with_prefix("selkie");
        upstreams.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_end_of_a_token_and_trouble_with_it_are_told() {
        let text = told(&standing());
        assert!(
            text.contains("selkie_upstream_token_expires_timestamp_seconds{seal=\"bridge\"} 1060")
        );
        assert!(text.contains("selkie_upstream_token_renewed{seal=\"bridge\"} 1"));
        assert!(
            text.contains("selkie_upstream_token_renewal_failing{seal=\"bridge\"} 0"),
            "{text}"
        );
        let trouble = Some(TransitDiagnosis {
            hop: TransitHop::Token,
            outcome: TransitOutcome::TokenRefused,
            host: "vault.test".into(),
            status: Some(403),
            tls: None,
        });
        let text = told(&TokenStanding { trouble, expires_in: None, is_renewed: true });
        assert!(!text.contains("expires_timestamp_seconds{"), "{text}");
        assert!(text.contains("selkie_upstream_token_renewed{seal=\"bridge\"} 0"));
        assert!(
            text.contains("selkie_upstream_token_renewal_failing{seal=\"bridge\"} 1"),
            "{text}"
        );
    }
}
