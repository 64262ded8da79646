//! One field of a section, read as exactly the type that its reader names.

use std::time::Duration;

use hcl_edit::expr::{Array, Expression, ObjectKey};
use hcl_edit::structure::Attribute;
use hcl_edit::template::Element;
use hcl_edit::{Formatted, Number};

use crate::document::{Located, Place};
use crate::duration::parse_duration;
use crate::problem::{Expected, FoundValue, Kind};

/// A field that was asked for. A value of another type is reported and reads as absent.
#[derive(Debug)]
pub struct Field<'d> {
    name: &'static str,
    section: Place<'d>,
    section_title: String,
    value: Option<(&'d Expression, Place<'d>)>,
}

/// The value of a field that takes either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringOrUnsigned {
    /// A text.
    String(String),
    /// A whole number from 0.
    Unsigned(u64),
}

/// A value of a list that may hold texts, numbers and truth values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    String(String),
    /// A number, in the digits that it is written with.
    Number(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// The lists of a map `{ "name" = [...] }`, by their names.
pub type Lists<'d> = Vec<(Located<'d, String>, Vec<Located<'d, Scalar>>)>;
/// The entries of a map, in the order of the file; two may have the same name.
pub type TextsByName<'d> = Vec<(String, Vec<Located<'d, String>>)>;

/// Why a text in quotes is no number.
#[derive(Debug, thiserror::Error)]
#[error("field {field:?}: the text between the quotes is not a whole number")]
pub struct NumberTextError {
    field: &'static str,
}

impl<'d> Field<'d> {
    pub(crate) fn new(
        name: &'static str,
        section: Place<'d>,
        attribute: Option<&'d Attribute>,
        section_title: &str,
    ) -> Self {
        let value = attribute.map(|a| (&a.value, Place::of(section.document, &a.value)));
        Self { name, section, section_title: section_title.to_owned(), value }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where the value stands, if the field is set, whatever its type.
    pub fn place(&self) -> Option<Place<'d>> {
        self.value.map(|(_, place)| place)
    }

    /// Reports the field as missing where it is not set.
    #[must_use]
    pub fn required(self) -> Self {
        if self.value.is_none() {
            let section = self.section_title.clone();
            self.section.add(Kind::MissingField { name: self.name, section });
        }
        self
    }

    /// A text.
    pub fn string(self) -> Option<Located<'d, String>> {
        self.read(Expected::String, text_of)
    }

    /// `true` or `false`.
    pub fn boolean(self) -> Option<Located<'d, bool>> {
        self.read(Expected::Boolean, Expression::as_bool)
    }

    /// A whole number from 0.
    pub fn unsigned(self) -> Option<Located<'d, u64>> {
        self.read(Expected::Unsigned, unsigned_of)
    }

    /// A number, whole or not, which is finite.
    pub fn number(self) -> Option<Located<'d, f64>> {
        let finite = |value: &f64| value.is_finite();
        self.read(Expected::Number, |value| value.as_number()?.as_f64().filter(finite))
    }

    /// A whole number, which may stand in quotes.
    pub fn unsigned_or_text(self) -> Option<Located<'d, u64>> {
        let field = self.name;
        let (value, place) = self.value?;
        match text_of(value) {
            None => self.read(Expected::UnsignedOrText, unsigned_of),
            Some(text) => Located::new(text, place)
                .try_map(|text| text.parse().ok().ok_or(NumberTextError { field })),
        }
    }

    /// A text or a whole number from 0.
    pub fn string_or_unsigned(self) -> Option<Located<'d, StringOrUnsigned>> {
        self.read(Expected::StringOrUnsigned, |value| {
            let text = text_of(value).map(StringOrUnsigned::String);
            text.or_else(|| unsigned_of(value).map(StringOrUnsigned::Unsigned))
        })
    }

    /// A time such as `"24h"`, `"90s"` or `"1h30m"`, or a whole number of seconds.
    pub fn duration(self) -> Option<Located<'d, Duration>> {
        let field = self.name;
        let (value, place) = self.value?;
        match text_of(value) {
            None => self.read(Expected::Duration, |v| unsigned_of(v).map(Duration::from_secs)),
            Some(text) => Located::new(text, place).try_map(|text| parse_duration(field, &text)),
        }
    }

    /// A list of texts.
    pub fn strings(self) -> Option<Located<'d, Vec<Located<'d, String>>>> {
        self.list(Expected::Strings)
    }

    /// A list of texts, or one text that stands for a list of one.
    pub fn string_or_strings(self) -> Option<Located<'d, Vec<Located<'d, String>>>> {
        let (value, place) = self.value?;
        match text_of(value) {
            Some(text) => Some(Located::new(vec![Located::new(text, place)], place)),
            None => self.list(Expected::StringOrStrings),
        }
    }

    /// A map from texts to texts, each of which stands for a list of one, or to lists of them. Where
    /// anything in it is wrong the whole reads as absent.
    pub fn texts_by_name(self) -> Option<Located<'d, TextsByName<'d>>> {
        let map = self.read(Expected::TextsByName, Expression::as_object)?;
        let document = map.place.document;
        let entries = map.value.iter().map(|(key, value)| {
            let at = |value| {
                let value = Some((value, Place::of(document, value)));
                Field { value, ..self.bare() }
            };
            let name = match key {
                ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
                ObjectKey::Expression(key) => {
                    at(key).read(Expected::MapKey, text_of).map(|name| name.value)
                }
            };
            let texts = at(value.expr()).string_or_strings();
            Some((name?, texts?.value))
        });
        // All that is wrong is reported, not only the first.
        let entries: Vec<_> = entries.collect();
        Some(Located::new(entries.into_iter().collect::<Option<_>>()?, map.place))
    }

    /// All elements that are wrong are reported; then the whole list reads as absent.
    fn list(self, expected: Expected) -> Option<Located<'d, Vec<Located<'d, String>>>> {
        let list = self.read(expected, Expression::as_array)?;
        let document = list.place.document;
        let elements: Vec<_> = list
            .value
            .iter()
            .map(|element| {
                let place = Place::of(document, element);
                let field = Field { value: Some((element, place)), ..self.bare() };
                field.read(Expected::Element, text_of)
            })
            .collect();
        let whole: Option<Vec<_>> = elements.into_iter().collect();
        Some(Located::new(whole?, list.place))
    }

    /// A map of lists. All of it that is wrong is reported; then the whole reads as absent.
    pub fn lists(self) -> Option<Located<'d, Lists<'d>>> {
        let map = self.read(Expected::Lists, Expression::as_object)?;
        let document = map.place.document;
        let entries: Vec<_> = map
            .value
            .iter()
            .map(|(key, value)| {
                let place = Place::of(document, key);
                let element = (value.expr(), Place::of(document, value.expr()));
                let list = Field { value: Some(element), ..self.bare() };
                let list = list.read(Expected::ScalarList, Expression::as_array);
                let name = self.key(key, place);
                Some((name?, self.scalars(&list?)?))
            })
            .collect();
        let whole: Option<Vec<_>> = entries.into_iter().collect();
        Some(Located::new(whole?, map.place))
    }

    fn key(&self, key: &'d ObjectKey, place: Place<'d>) -> Option<Located<'d, String>> {
        let name = match key {
            ObjectKey::Ident(name) => Some(name.as_str().to_owned()),
            ObjectKey::Expression(expression) => text_of(expression),
        };
        if name.is_none() {
            place.add(Kind::NotLiteral { field: self.name, found: FoundValue::Expression });
        }
        Some(Located::new(name?, place))
    }

    fn scalars(&self, list: &Located<'d, &'d Array>) -> Option<Vec<Located<'d, Scalar>>> {
        let document = list.place.document;
        let elements: Vec<_> = list
            .value
            .iter()
            .map(|element| {
                let value = Some((element, Place::of(document, element)));
                Field { value, ..self.bare() }.read(Expected::Scalar, scalar_of)
            })
            .collect();
        elements.into_iter().collect()
    }

    fn bare(&self) -> Self {
        let section_title = String::new();
        Self { name: self.name, section: self.section, section_title, value: None }
    }

    fn read<T>(
        &self,
        expected: Expected,
        convert: impl FnOnce(&'d Expression) -> Option<T>,
    ) -> Option<Located<'d, T>> {
        let (value, place) = self.value?;
        let converted = convert(value);
        if converted.is_none() {
            let (field, found) = (self.name, what_is(value));
            place.add(if found.is_literal() {
                Kind::WrongType { field, expected, found }
            } else {
                Kind::NotLiteral { field, found }
            });
        }
        Some(Located::new(converted?, place))
    }
}

fn scalar_of(value: &Expression) -> Option<Scalar> {
    Some(match value {
        Expression::Number(number) => Scalar::Number(number.value().to_string()),
        Expression::Bool(truth) => Scalar::Boolean(*truth.value()),
        text => Scalar::String(text_of(text)?),
    })
}

fn unsigned_of(value: &Expression) -> Option<u64> {
    match value {
        Expression::Number(number) if is_whole(number) => number.value().as_u64(),
        _ => None,
    }
}

/// By how it is written: hcl-edit makes `1.0` and `1e3` whole numbers.
fn is_whole(number: &Formatted<Number>) -> bool {
    let written = number.as_repr().map_or("", |written| written);
    !number.value().is_f64() && !written.contains(['.', 'e', 'E'])
}

/// A quoted text, or a heredoc without interpolation.
fn text_of(value: &Expression) -> Option<String> {
    match value {
        Expression::String(text) => Some(text.value().clone()),
        Expression::HeredocTemplate(heredoc) => heredoc
            .template
            .iter()
            .map(|element| match element {
                Element::Literal(text) => Some(text.as_str()),
                Element::Interpolation(_) | Element::Directive(_) => None,
            })
            .collect(),
        _ => None,
    }
}

fn what_is(value: &Expression) -> FoundValue {
    match value {
        Expression::Null(_) => FoundValue::Null,
        Expression::Bool(_) => FoundValue::Boolean,
        Expression::Number(number) if is_whole(number) && number.value().is_u64() => {
            FoundValue::Number
        }
        Expression::Number(number) if is_whole(number) => FoundValue::NegativeNumber,
        Expression::Number(_) => FoundValue::Fraction,
        Expression::String(_) => FoundValue::String,
        Expression::HeredocTemplate(_) if text_of(value).is_some() => FoundValue::String,
        Expression::Array(_) => FoundValue::List,
        Expression::Object(_) => FoundValue::Map,
        Expression::StringTemplate(_) | Expression::HeredocTemplate(_) => FoundValue::Template,
        Expression::Variable(_) => FoundValue::Variable,
        Expression::FuncCall(_) => FoundValue::FunctionCall,
        Expression::Parenthesis(_)
        | Expression::Conditional(_)
        | Expression::Traversal(_)
        | Expression::UnaryOp(_)
        | Expression::BinaryOp(_)
        | Expression::ForExpr(_) => FoundValue::Expression,
    }
}
