//! What a server says of ciphertexts that its configuration leaves behind.

use serde_json::Value;

use super::{Block, Report};
use crate::cli::members::word;

impl Report {
    pub(super) fn tell_of_promises(&mut self, status: &Value, block: &mut Block) {
        let broken = status.get("broken_promises").and_then(Value::as_array);
        let broken: Vec<_> = broken.into_iter().flatten().collect();
        for one in &broken {
            block.add(true, "left behind", word(one, "loss"));
            block.add(true, "what to do", word(one, "advice"));
        }
        if !broken.is_empty() {
            self.in_need.push("ciphertexts left behind".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::told;

    #[test]
    fn a_broken_promise_needs_attention_and_kept_ones_do_not() {
        assert_eq!(told(&json!({"broken_promises": []})).in_need, [""; 0]);
        let broken = json!({"broken_promises": [{"loss": "realm x", "advice": "put it back"}]});
        let told = told(&broken);
        assert_eq!(told.in_need, ["ciphertexts left behind"]);
        for line in ["! left behind       realm x", "! what to do        put it back"] {
            assert!(told.text.contains(line), "{}", told.text);
        }
    }
}
