//! What a server says of the certificates that its listeners show.

use serde_json::Value;

use super::{Block, Report};
use crate::cli::members::word;

impl Report {
    pub(super) fn tell_of_certificates(&mut self, status: &Value, block: &mut Block) {
        let all = status.get("listener_certificates").and_then(Value::as_array);
        for one in all.into_iter().flatten() {
            let Some(notice) = word(one, "notice") else { continue };
            let listener = word(one, "listener").unwrap_or_default();
            block.add(true, "listener", Some(format!("{listener}: {notice}")));
            block.add(true, "what to do", word(one, "advice"));
            self.in_need.push(format!("listener {listener}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::told;

    #[test]
    fn a_certificate_that_ends_needs_attention_and_another_does_not() {
        let status = |notice: Option<&str>| {
            json!({"listener_certificates": [
                {"listener": "0.0.0.0:8200", "notice": notice, "advice": notice.map(|_| "renew it")}
            ]})
        };
        assert_eq!(told(&status(None)).in_need, [""; 0]);
        let ending = told(&status(Some("certificate ends in 9 days")));
        assert_eq!(ending.in_need, ["listener 0.0.0.0:8200"]);
        assert!(
            ending.text.contains("0.0.0.0:8200: certificate ends in 9 days"),
            "{}",
            ending.text
        );
        assert!(ending.text.contains("renew it"), "{}", ending.text);
    }
}
