use super::*;

mod values;

const FILE: &str = "selkie.hcl";

/// Reads a listener with every type, and tells what was wrong.
fn problems(text: &str) -> String {
    let read = |text: &str| -> Result<(), Problems> {
        let document = Document::parse(FILE, text)?;
        let mut root = document.root();
        root.field("realm").string();
        root.refuse("ui", || std::fmt::Error);
        for (_, mut listener) in root.labelled("listener") {
            listener.field("address").required().string();
            listener.field("tls_cert_file").string();
            listener.field("tls_disable").boolean();
            listener.field("max_connections").unsigned();
            listener.field("priority").unsigned_or_text();
            listener.field("idle").duration();
            listener.field("socket").string_or_unsigned();
            listener.field("names").strings();
            listener.field("peers").string_or_strings();
            listener.finish();
        }
        for (_, key) in root.uniquely_labelled("key") {
            key.finish();
        }
        if let Some(telemetry) = root.block("telemetry") {
            telemetry.finish();
        }
        root.finish();
        document.finish()
    };
    read(text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

/// The problems of one line inside a listener that is otherwise complete.
fn problems_of_field(line: &str) -> String {
    problems(&format!("listener \"tcp\" {{\n  address = \"x\"\n  {line}\n}}\n"))
}

#[test]
fn every_type_reads_as_itself() {
    let text = r#"
        text = "a$${b}\n{{identity.entity.id}}"
        long = <<EOT
line
EOT
        yes = true
        count = 18446744073709551615
        rank = "7"
        span = "1h30m"
        seconds = 90
        names = ["a", "b",]
        one = "c"
        socket = 3
    "#;
    let document = Document::parse(FILE, text).expect("parses");
    let mut root = document.root();
    let texts = |list: Located<'_, Vec<Located<'_, String>>>| -> Vec<String> {
        list.value.into_iter().map(|element| element.value).collect()
    };
    let string = root.field("text").string().map(|v| v.value);
    assert_eq!(string.as_deref(), Some("a${b}\n{{identity.entity.id}}"));
    assert_eq!(root.field("long").string().map(|v| v.value).as_deref(), Some("line\n"));
    assert_eq!(root.field("yes").boolean().map(|v| v.value), Some(true));
    assert_eq!(root.field("count").unsigned().map(|v| v.value), Some(u64::MAX));
    assert_eq!(root.field("rank").unsigned_or_text().map(|v| v.value), Some(7));
    assert_eq!(root.field("span").duration().map(|v| v.value.as_secs()), Some(5400));
    assert_eq!(root.field("seconds").duration().map(|v| v.value.as_secs()), Some(90));
    assert_eq!(root.field("names").strings().map(texts), Some(vec!["a".into(), "b".into()]));
    assert_eq!(root.field("one").string_or_strings().map(texts), Some(vec!["c".into()]));
    let socket = root.field("socket").string_or_unsigned().map(|v| v.value);
    assert_eq!(socket, Some(StringOrUnsigned::Unsigned(3)));
    assert!(root.field("absent").string().is_none());
    root.finish();
    document.finish().expect("no problems");
}

#[test]
fn an_unknown_field_is_named_with_its_likely_meaning() {
    assert_eq!(
        problems_of_field("tls_cert_fle = \"x\""),
        "selkie.hcl:3:3: unknown field \"tls_cert_fle\" in listener \"tcp\"; \
         did you mean \"tls_cert_file\"?"
    );
    assert_eq!(problems("zone = 1"), "selkie.hcl:1:1: unknown field \"zone\"");
}

#[test]
fn an_unknown_block_is_named_with_its_likely_meaning() {
    assert_eq!(
        problems("\nlistner \"tcp\" {}"),
        "selkie.hcl:2:1: unknown block \"listner\"; did you mean \"listener\"?"
    );
}

/// A line, and what is told about it.
const WRONG_TYPES: &[(&str, &str)] = &[
    ("tls_cert_file = 5", "3:19: field \"tls_cert_file\": expected a string, found a number"),
    (
        "tls_disable = \"true\"",
        "3:17: field \"tls_disable\": expected true or false, found a string",
    ),
    ("tls_disable = 1", "3:17: field \"tls_disable\": expected true or false, found a number"),
    (
        "max_connections = -1",
        "3:21: field \"max_connections\": expected a whole number, found a negative number",
    ),
    (
        "max_connections = 1.0",
        "3:21: field \"max_connections\": expected a whole number, found a fraction or too large a number",
    ),
    (
        "max_connections = 18446744073709551616",
        "3:21: field \"max_connections\": expected a whole number, found a fraction or too large a number",
    ),
    (
        "max_connections = \"5\"",
        "3:21: field \"max_connections\": expected a whole number, found a string",
    ),
    (
        "priority = \"x\"",
        "3:14: field \"priority\": the text between the quotes is not a whole number",
    ),
    ("priority = []", "3:14: field \"priority\": expected a whole number, found a list"),
    (
        "idle = \"5 minutes\"",
        "3:10: field \"idle\": expected a duration such as \"24h\", \"90s\" or \"1h30m\"",
    ),
    (
        "idle = true",
        "3:10: field \"idle\": expected a duration such as \"90s\" or a whole number of seconds, found a boolean",
    ),
    (
        "socket = true",
        "3:12: field \"socket\": expected a string or a whole number, found a boolean",
    ),
    ("names = \"a\"", "3:11: field \"names\": expected a list of strings, found a string"),
    ("peers = {}", "3:11: field \"peers\": expected a string or a list of strings, found a map"),
    ("peers = null", "3:11: field \"peers\": expected a string or a list of strings, found null"),
];

#[test]
fn a_value_of_another_type_is_refused() {
    for (line, message) in WRONG_TYPES {
        assert_eq!(problems_of_field(line), format!("selkie.hcl:{message}"));
    }
}

#[test]
fn every_wrong_element_of_a_list_is_reported() {
    assert_eq!(
        problems_of_field("names = [\"é\", 1, \"b\", x]"),
        "selkie.hcl:3:17: field \"names\": expected strings in the list, found a number\n\
         selkie.hcl:3:25: field \"names\": values are literal here, found a variable; \
         a text stands in quotes"
    );
}

#[test]
fn what_would_have_to_be_computed_is_refused() {
    for (value, found) in [
        ("\"a${b}\"", "a template; write \"$${\" or \"%%{\" where these characters are meant"),
        ("info", "a variable; a text stands in quotes"),
        ("file(\"x\")", "a function call"),
        ("1 + 2", "an expression"),
        ("(\"x\")", "an expression"),
        ("a.b", "an expression"),
        ("true ? \"a\" : \"b\"", "an expression"),
        ("[for a in b : a]", "an expression"),
    ] {
        assert_eq!(
            problems_of_field(&format!("tls_cert_file = {value}")),
            format!(
                "selkie.hcl:3:19: field \"tls_cert_file\": values are literal here, found {found}"
            )
        );
    }
    let heredoc = problems_of_field("tls_cert_file = <<E\na${b}\nE");
    assert!(heredoc.contains("found a template"), "{heredoc}");
}

#[test]
fn a_template_in_a_label_is_refused() {
    assert!(problems("key \"a${b}\" {}").starts_with("selkie.hcl:1:"));
}

#[test]
fn a_missing_field_is_reported_where_its_block_begins() {
    assert_eq!(
        problems("realm = \"x\"\n  listener \"a\\nb\" {}"),
        "selkie.hcl:2:3: missing field \"address\" in listener \"a\\nb\""
    );
}

#[test]
fn a_field_of_the_wrong_type_is_not_missing_as_well() {
    assert_eq!(
        problems("listener \"tcp\" {\n address = 1\n}"),
        "selkie.hcl:2:12: field \"address\": expected a string, found a number"
    );
}

#[test]
fn a_field_set_twice_is_a_problem() {
    assert_eq!(
        problems_of_field("address = \"y\""),
        "selkie.hcl:3:3: field \"address\" is set twice"
    );
}

#[test]
fn a_repeated_field_is_named_in_full() {
    for name in ["tls_cert_file", "a-b", "max_connections2"] {
        assert_eq!(
            problems(&format!("{name} = 1\n{name}= 2\n")),
            format!("selkie.hcl:2:1: field \"{name}\" is set twice")
        );
    }
}

#[test]
fn a_repeated_label_or_block_is_a_problem() {
    assert_eq!(
        problems("key \"a\" {}\nkey a {}\nkey b {}"),
        "selkie.hcl:2:5: key \"a\" is declared twice"
    );
    assert_eq!(
        problems("telemetry {}\ntelemetry {}"),
        "selkie.hcl:2:1: block \"telemetry\" may stand once only"
    );
}

#[test]
fn the_number_of_labels_is_checked() {
    assert_eq!(
        problems("key {}\nkey \"a\" \"b\" {}\ntelemetry \"x\" {}"),
        "selkie.hcl:1:1: block \"key\" takes one label, found 0\n\
         selkie.hcl:2:1: block \"key\" takes one label, found 2\n\
         selkie.hcl:3:1: block \"telemetry\" takes no label, found 1"
    );
}

#[test]
fn fields_and_blocks_are_not_mistaken_for_each_other() {
    assert_eq!(
        problems("realm {}\ntelemetry = {}"),
        "selkie.hcl:1:1: \"realm\" is a field, not a block: write realm = ...\n\
         selkie.hcl:2:1: \"telemetry\" is a block, not a field: \
         write telemetry { ... } without \"=\""
    );
}

#[test]
fn a_syntax_error_at_the_end_stands_inside_the_text() {
    let problems = Document::parse("x.hcl", "a  {\n\n").expect_err("a block without an end");
    let position = problems.iter().next().expect("a problem").position;
    assert_eq!((position.line, position.column), (2, 1));
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    assert_eq!(
        problems("realm = \"x\"\nlistener \"tcp\" {\n  address \"x\"\n}\n"),
        "selkie.hcl:3:14: expected `{`"
    );
    for json in ["{\"path\": {}}", "{\n  \"realm\": \"x\n}"] {
        assert_eq!(
            problems(json),
            "selkie.hcl:1:1: unexpected token; the JSON form is not read, only HCL's own"
        );
    }
}

#[test]
fn a_quote_left_open_is_found() {
    assert_eq!(
        problems("# it\"s\nlistener \"tcp\" {\n  address = \"a\\\"b\n  idle = 1\n}\n"),
        "selkie.hcl:3:3: invalid block body; expected `}`, newline or identifier; \
         is a quote left open in line 3?"
    );
    assert_eq!(
        problems("\n\nrealm = \"x\nzone = \"y\"\n"),
        "selkie.hcl:4:9: expected newline or eof; is a quote left open in line 3?"
    );
}

#[test]
fn no_problem_quotes_a_value() {
    for text in
        ["a = \"hunter2\" b", "a = \"hunter2", "a { x = \"hunter2\" }", "realm = [\"hunter2\"]"]
    {
        let read = |text: &str| -> Result<(), Problems> {
            let document = Document::parse(FILE, text)?;
            let mut root = document.root();
            root.field("realm").string();
            root.finish();
            document.finish()
        };
        let problems = read(text).expect_err("is broken");
        assert!(!format!("{problems} {problems:?}").contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn a_name_in_quotes_is_understood() {
    assert_eq!(
        problems("\"realm\" = \"x\""),
        "selkie.hcl:1:1: unexpected token; the names of fields and blocks stand without quotes"
    );
}

#[test]
fn problems_come_in_order_of_position_and_refusals_are_never_suggested() {
    assert_eq!(
        problems("uj = 1\nui = true\nlistener \"tcp\" {\n b = 1\n}\nrealm = 1\n"),
        "selkie.hcl:1:1: unknown field \"uj\"\n\
         selkie.hcl:2:1: an error occurred when formatting an argument\n\
         selkie.hcl:3:1: missing field \"address\" in listener \"tcp\"\n\
         selkie.hcl:4:2: unknown field \"b\" in listener \"tcp\"\n\
         selkie.hcl:6:9: field \"realm\": expected a string, found a number"
    );
}

#[test]
fn a_name_from_the_file_cannot_fill_or_forge_a_log() {
    let flood = problems(&format!("{} = 1", "a".repeat(10_000)));
    assert!(flood.len() < 200 && flood.ends_with("..."), "{flood}");
    let many: String = (0..1000).map(|i| format!("a{i} = 1\n")).collect();
    let told = problems(&many);
    assert_eq!(told.lines().count(), 101);
    assert!(told.ends_with("\nand 900 more"));
}

#[test]
fn problems_of_a_named_file_join_those_of_the_file_that_names_it() {
    let document = Document::parse(FILE, "a = 1").expect("parses");
    document.include(Document::parse("policy.hcl", "a =").expect_err("a syntax error"));
    document.root().finish();
    let told = document.finish().expect_err("problems").to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.first(), Some(&"selkie.hcl:1:1: unknown field \"a\""));
    assert!(lines.get(1).is_some_and(|line| line.starts_with("policy.hcl:1:")), "{told}");
}

#[test]
#[should_panic(expected = "unfinished section")]
fn a_section_that_is_never_finished_is_caught() {
    let document = Document::parse(FILE, "a = 1").expect("parses");
    let _unfinished = document.root();
    let _ = document.finish();
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    for (open, close) in
        [("[", "]"), ("(", ")"), ("{a=", "}"), ("\"${", "}\""), ("-", ""), ("!", "")]
    {
        let text = format!("realm = {}1{}", open.repeat(20_000), close.repeat(20_000));
        assert!(!problems(&text).is_empty(), "{open}");
    }
    assert!(!problems(&"a {\n".repeat(20_000)).is_empty());
    assert!(!problems(&format!("realm = {}1", "1+".repeat(100_000))).is_empty());
}

#[test]
fn a_megabyte_is_read_in_one_pass() {
    let list = "1,".repeat(500_000);
    assert!(problems_of_field(&format!("names = [{list}]")).ends_with("and 499900 more"));
    assert!(problems(&"key a {}\n".repeat(100_000)).ends_with("and 99899 more"));
    assert_eq!(problems_of_field(&format!("names = [\"{}\"]", "x".repeat(1 << 20))), "");
    assert!(!problems(&"\"".repeat(1 << 20)).is_empty());
    assert!(!problems(&"/*".repeat(1 << 19)).is_empty());
}
