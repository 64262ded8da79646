//! What fields and sections give to their reader, and where they say it stands.

use std::error::Error as _;

use super::*;

fn with_root<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> (T, String) {
    let document = Document::parse(FILE, text).expect("parses");
    let mut root = document.root();
    let value = read(&mut root);
    root.finish();
    let told = document.finish().err().map(|problems| problems.to_string());
    (value, told.unwrap_or_default())
}

fn number(text: &str) -> (Option<f64>, String) {
    with_root(text, |root| root.field("rate").number().map(|v| v.value))
}

#[test]
fn a_number_is_read_whole_or_not() {
    for (written, value) in [("0.25", 0.25), ("3", 3.0), ("-1.5", -1.5), ("1e3", 1000.0)] {
        assert_eq!(number(&format!("rate = {written}")), (Some(value), String::new()));
    }
    assert_eq!(
        number("rate = \"3\""),
        (None, "selkie.hcl:1:8: field \"rate\": expected a number, found a string".to_owned())
    );
}

/// What a map reads as, and what is told of it.
type Read<T> = (Option<Vec<(String, Vec<T>)>>, String);

fn texts_by_name(text: &str) -> Read<String> {
    let texts = |list: Vec<Located<'_, String>>| list.into_iter().map(|v| v.value).collect();
    with_root(text, |root| {
        let map = root.field("map").texts_by_name()?.value;
        Some(map.into_iter().map(|(name, list)| (name, texts(list))).collect())
    })
}

#[test]
fn a_map_reads_one_text_or_several_by_names_with_and_without_quotes() {
    let (map, told) = texts_by_name("map = {\n  a = \"x\"\n  \"b c\" = [\"y\", \"z\"]\n}");
    let expected = vec![
        ("a".to_owned(), vec!["x".to_owned()]),
        ("b c".to_owned(), vec!["y".to_owned(), "z".to_owned()]),
    ];
    assert_eq!((map, told.as_str()), (Some(expected), ""));
    assert_eq!(texts_by_name("map = {}"), (Some(vec![]), String::new()));
}

#[test]
fn all_that_is_wrong_in_a_map_is_told_where_it_stands() {
    assert_eq!(
        texts_by_name("map = {\n  a = 1\n  (1) = \"x\"\n  b = [\"y\", 2]\n}"),
        (
            None,
            "selkie.hcl:2:7: field \"map\": expected a string or a list of strings, found a number\n\
             selkie.hcl:3:3: field \"map\": values are literal here, found an expression\n\
             selkie.hcl:4:13: field \"map\": expected strings in the list, found a number"
                .to_owned()
        )
    );
    let (map, told) = texts_by_name("map = [\"x\"]");
    assert_eq!(map, None);
    assert!(
        told.ends_with("expected a map such as { \"name\" = \"value\" }, found a list"),
        "{told}"
    );
}

fn lists(text: &str) -> Read<Scalar> {
    with_root(text, |root| {
        let lists = root.field("map").lists()?.value;
        let values = |list: Vec<Located<'_, Scalar>>| list.into_iter().map(|v| v.value).collect();
        Some(lists.into_iter().map(|(name, list)| (name.value, values(list))).collect())
    })
}

#[test]
fn lists_hold_texts_numbers_and_truth_values_as_they_are_written() {
    let (map, told) = lists("map = { \"a\" = [\"x\", 1, -2.5, true], b = [] }");
    let values = vec![
        Scalar::String("x".to_owned()),
        Scalar::Number("1".to_owned()),
        Scalar::Number("-2.5".to_owned()),
        Scalar::Boolean(true),
    ];
    let expected = vec![("a".to_owned(), values), ("b".to_owned(), vec![])];
    assert_eq!((map, told.as_str()), (Some(expected), ""));
}

#[test]
fn all_that_is_wrong_in_lists_is_told_where_it_stands() {
    assert_eq!(
        lists("map = {\n  a = \"x\"\n  (1 + 1) = []\n  b = [null, {}]\n}"),
        (
            None,
            "selkie.hcl:2:7: field \"map\": expected a list of strings, numbers, true and false, \
             found a string\n\
             selkie.hcl:3:3: field \"map\": values are literal here, found an expression\n\
             selkie.hcl:4:8: field \"map\": expected strings, numbers, true and false in the list, \
             found null\n\
             selkie.hcl:4:14: field \"map\": expected strings, numbers, true and false in the list, \
             found a map"
                .to_owned()
        )
    );
    let (map, told) = lists("map = 1");
    assert_eq!(map, None);
    assert!(
        told.ends_with(
            "expected a map of lists, such as { \"name\" = [\"value\"] }, found a number"
        )
    );
}

#[test]
fn names_and_values_of_maps_know_their_places() {
    let text = "map = {\n  \"a\" = [1]\n}\ntexts = {\n  b = \"x\"\n}\n  one = \"y\"\n";
    let places = with_root(text, |root| {
        let lists = root.field("map").lists().unwrap();
        let (name, list) = lists.value.first().unwrap();
        let texts = root.field("texts").texts_by_name().unwrap();
        let one = root.field("one").string_or_strings().unwrap();
        [
            lists.place,
            name.place,
            list.first().unwrap().place,
            texts.place,
            texts.value.first().unwrap().1.first().unwrap().place,
            one.value.first().unwrap().place,
        ]
        .map(|place| place.position().to_string())
    });
    assert_eq!(places.0, ["1:7", "2:3", "2:10", "4:9", "5:7", "7:9"]);
}

#[test]
fn a_field_knows_its_name_and_whether_and_where_it_is_set() {
    let text = "realm = 5\n";
    with_root(text, |root| {
        let field = root.field("realm");
        assert_eq!(field.name(), "realm");
        assert_eq!(field.place().map(|place| place.position().to_string()).as_deref(), Some("1:9"));
        assert!(root.field("absent").place().is_none());
    });
}

#[test]
fn a_place_knows_its_file_and_document() {
    let document = Document::parse(FILE, "\n  listener \"tcp\" {\n a = \"é\"\n }\n").unwrap();
    let mut root = document.root();
    assert_eq!((root.title(), root.place().position().to_string().as_str()), ("", "1:1"));
    let mut sections = root.labelled("listener");
    let (label, listener) = sections.pop().unwrap();
    assert_eq!(label.place.position(), Position { line: 2, column: 12 });
    assert_eq!(listener.place().position(), Position { line: 2, column: 3 });
    assert_eq!(&*listener.place().file(), FILE);
    assert!(std::ptr::eq(listener.place().document(), &raw const document));
    assert_eq!(listener.title(), "listener \"tcp\"");
    assert_eq!(listener.text().trim(), "a = \"é\"");
    let kept = label.map(|text| text.len());
    assert_eq!((kept.value, kept.place.position().column), (3, 12));
    listener.ignore_the_rest();
    root.finish();
    document.finish().expect("what was ignored is no problem, and the section was ended");
}

#[test]
fn a_document_knows_whether_anything_was_wrong_so_far() {
    let document = Document::parse(FILE, "a = 1").unwrap();
    assert!(!document.has_problems());
    document.root().finish();
    assert!(document.has_problems());
    let naming = Document::parse(FILE, "").unwrap();
    assert!(!naming.has_problems());
    naming.include(document.finish().unwrap_err());
    assert!(naming.has_problems());
}

#[test]
fn what_the_reader_refused_is_the_source_of_the_problem() {
    let document = Document::parse(FILE, "a = 1").unwrap();
    document.root().place().report(RefusedByReader);
    document.root().finish();
    let problems = document.finish().unwrap_err();
    let sources: Vec<_> = problems.iter().map(|problem| problem.source().is_some()).collect();
    assert_eq!(sources, [true, false], "an unknown field has no source");
    let source = problems.iter().next().unwrap().source().unwrap();
    assert_eq!(source.to_string(), "refused");
}

/// An error of a reader's own.
#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct RefusedByReader;

#[test]
fn a_heredoc_is_told_as_the_text_that_it_is() {
    assert_eq!(
        problems_of_field("tls_disable = <<E\nx\nE"),
        "selkie.hcl:3:17: field \"tls_disable\": expected true or false, found a string"
    );
}

#[test]
fn numbers_with_an_exponent_are_no_whole_numbers() {
    for written in ["1e3", "1E3", "1.5", "-1.0"] {
        assert_eq!(
            problems_of_field(&format!("max_connections = {written}")),
            "selkie.hcl:3:21: field \"max_connections\": expected a whole number, \
             found a fraction or too large a number"
        );
    }
}

#[test]
fn a_name_of_eighty_characters_is_told_in_full_and_a_longer_one_cut_there() {
    let whole = "é".repeat(80);
    assert_eq!(
        problems(&format!("{whole} = 1")),
        format!("selkie.hcl:1:1: unknown field \"{whole}\"")
    );
    assert_eq!(
        problems(&format!("{whole}é = 1")),
        format!("selkie.hcl:1:1: unknown field \"{whole}\"...")
    );
}

#[test]
fn quotes_in_comments_and_escaped_ones_leave_nothing_open() {
    for comment in ["# it\"s", "// it\"s", "  # it\"s"] {
        assert_eq!(
            problems(&format!("{comment}\nrealm = \"a\\\"b\"\nzone")),
            "selkie.hcl:3:1: unexpected token",
            "{comment}"
        );
    }
}
