//! Whatever a file says, it is read or refused in order, and its reading ends.

mod sources;

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, proptest};
use selkie_config::{Config, Problems};

use crate::sources::TestSources;

const GOOD: &str = include_str!("data/good.hcl");

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("x", text, &TestSources)
}

/// Every problem of the file itself stands inside it, and they come in order.
fn is_in_order(text: &str, problems: &Problems) -> bool {
    let own = problems.iter().filter(|problem| &*problem.file == "x");
    let positions: Vec<_> = own.map(|problem| problem.position).collect();
    let lines = text.split('\n').count();
    let inside = positions.iter().all(|p| (1..=lines).contains(&p.line) && p.column >= 1);
    inside && positions.is_sorted()
}

/// The good file with one stretch of it replaced.
fn damaged() -> impl Strategy<Value = String> {
    let characters = GOOD.chars().count();
    let pieces = prop::sample::select(vec![
        "",
        " ",
        "\n",
        "\"",
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        "${",
        "#",
        "/*",
        "<<E\n",
        "null",
        "true",
        "-1",
        "1e9",
        "x",
        "é",
        "\u{0}",
        "\r",
        "listener \"tcp\" {}",
        "seal \"static\" {}",
    ]);
    (0..characters, 0..40usize, pieces).prop_map(|(start, length, piece)| {
        let before = GOOD.chars().take(start);
        let after = GOOD.chars().skip(start + length);
        before.chain(piece.chars()).chain(after).collect()
    })
}

/// Lines of the good file, some left out and some doubled.
fn shuffled() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = GOOD.lines().collect();
    prop::collection::vec(prop::sample::select(lines), 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(problems) = parse(&text) {
            prop_assert!(is_in_order(&text, &problems), "{problems}");
        }
    }

    #[test]
    fn any_damage_to_a_good_file_is_read_or_refused(text in damaged()) {
        if let Err(problems) = parse(&text) {
            prop_assert!(is_in_order(&text, &problems), "{problems}");
        }
    }

    #[test]
    fn any_jumble_of_its_lines_is_read_or_refused(text in shuffled()) {
        if let Err(problems) = parse(&text) {
            prop_assert!(is_in_order(&text, &problems), "{problems}");
        }
    }
}

#[test]
fn a_megabyte_of_any_stanza_ends() {
    for stanza in [
        "listener \"tcp\" {\n  tls_disable = true\n}\n",
        "seal \"static\" {\n  current_key_id = \"1\"\n  current_key = \"env://KEY_HEX\"\n}\n",
        "seal \"azurekeyvault\" {}\n",
        "seal \"azurekeyvault\" {\n  vault_name = \"kv1\"\n  key_name = \"k\"\n}\n",
        "mount \"a/b/c\" {}\n",
        "key \"a\" {}\n",
        "client \"a\" {}\n",
        "policy \"a\" {}\n",
        "realm_aliases = [\"\", \"\", \"\"]\n",
    ] {
        let text = stanza.repeat((1 << 20) / stanza.len());
        let problems = parse(&text).expect_err("repeated");
        assert!(is_in_order(&text, &problems), "{stanza}");
    }
}
