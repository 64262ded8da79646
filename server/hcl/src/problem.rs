//! What can be wrong with a file, and how it is told.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hcl_edit::parser;

/// A line and a column, both counted from 1; a column is one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn after(self, passed: char) -> Self {
        match passed {
            '\n' => Self { line: self.line.saturating_add(1), column: 1 },
            _ => Self { column: self.column.saturating_add(1), ..self },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Problem {
    /// The file, as its reader named it.
    pub file: Arc<str>,
    /// Where in it.
    pub position: Position,
    /// What.
    pub kind: Kind,
}

impl Problem {
    /// hcl-edit tells a repeated field as a syntax error like any other.
    pub(crate) fn from_syntax(file: &Arc<str>, text: &str, error: &parser::Error) -> Self {
        let at = error.location();
        // At the end of a text whose last line is empty the parser counts one column too many.
        let columns = error.line().chars().count().saturating_add(1);
        let position = Position { line: at.line(), column: at.column().min(columns) };
        let rest = text.get(at.offset()..).unwrap_or_default();
        let kind = if error.message().ends_with("found redefined attribute") {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            Kind::RepeatedField { name: name.to_owned() }
        } else {
            Kind::Syntax { message: error.message().into(), hint: Hint::of(text, rest, position) }
        };
        Self { file: Arc::clone(file), position, kind }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.position, self.kind)
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// The text is no HCL.
    #[error("{message}{}", HintSuffix(hint.as_ref()))]
    Syntax {
        /// What the parser says. Not its error, which quotes the line and what may be secret in it.
        message: Box<str>,
        /// What may be the reason.
        hint: Option<Hint>,
    },
    /// A field is set twice.
    #[error("field {} is set twice", Name(name))]
    RepeatedField {
        /// The field.
        name: String,
    },
    /// A field that nobody asked for.
    #[error("unknown field {}{}{}", Name(name), In(section), DidYouMean(*meant))]
    UnknownField {
        /// As it is written.
        name: String,
        /// The section it stands in, empty at the top level.
        section: String,
        /// The known field that looks like it.
        meant: Option<&'static str>,
    },
    /// A block that nobody asked for.
    #[error("unknown block {}{}{}", Name(name), In(section), DidYouMean(*meant))]
    UnknownBlock {
        /// As it is written.
        name: String,
        /// The section it stands in, empty at the top level.
        section: String,
        /// The known block that looks like it.
        meant: Option<&'static str>,
    },
    /// A required field is not there.
    #[error("missing field {name:?}{}", In(section))]
    MissingField {
        /// The field.
        name: &'static str,
        /// The section that lacks it, empty at the top level.
        section: String,
    },
    /// A field is written as a block.
    #[error("{name:?} is a field, not a block: write {name} = ...")]
    FieldAsBlock {
        /// The field.
        name: &'static str,
    },
    /// A block is written as a field.
    #[error("{name:?} is a block, not a field: write {name} {{ ... }} without \"=\"")]
    BlockAsField {
        /// The block.
        name: &'static str,
    },
    /// A block that may stand once stands again.
    #[error("block {name:?} may stand once only")]
    RepeatedBlock {
        /// The block.
        name: &'static str,
    },
    /// Two blocks of one kind have the same label.
    #[error("{name} {} is declared twice", Name(label))]
    RepeatedLabel {
        /// The kind of block.
        name: &'static str,
        /// The label.
        label: String,
    },
    /// A block has too few labels or too many.
    #[error("block {name:?} takes {}, found {found}", Labels(*wanted))]
    LabelCount {
        /// The kind of block.
        name: &'static str,
        /// How many it takes.
        wanted: usize,
        /// How many it has.
        found: usize,
    },
    /// A value of another type than the field has.
    #[error("field {field:?}: expected {expected}, found {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: Expected,
        /// What is there.
        found: FoundValue,
    },
    /// A value that would have to be computed.
    #[error("field {field:?}: values are literal here, found {found}{}", found.remedy())]
    NotLiteral {
        /// The field.
        field: &'static str,
        /// What is there.
        found: FoundValue,
    },
    /// What the reader of the values found wrong.
    #[error("{0}")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}

/// A likely reason of a syntax error, for what the parser tells worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Hint {
    /// A line with an odd number of quotes: the text that begins there swallows what follows.
    #[error("is a quote left open in line {line}?")]
    OpenQuote {
        /// The first such line.
        line: usize,
    },
    /// A name in quotes, as in HCL 1 and JSON.
    #[error("the names of fields and blocks stand without quotes")]
    QuotedName,
    /// A text that begins as JSON does.
    #[error("the JSON form is not read, only HCL's own")]
    Json,
}

impl Hint {
    fn of(text: &str, rest: &str, position: Position) -> Option<Self> {
        let has_open_quote = |line: &str| {
            let is_comment = line.trim_start().starts_with(['#', '/']);
            let quotes = line.matches('"').count().saturating_sub(line.matches("\\\"").count());
            !is_comment && quotes % 2 == 1
        };
        if text.trim_start().starts_with('{') {
            return Some(Self::Json);
        }
        let mut lines = text.lines().take(position.line);
        let open = lines.position(has_open_quote).map(|index| index.saturating_add(1));
        let quoted_name = rest.starts_with('"').then_some(Self::QuotedName);
        open.map(|line| Self::OpenQuote { line }).or(quoted_name)
    }
}

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0.
    Unsigned,
    /// A number, whole or not.
    Number,
    /// A whole number, also between quotes.
    UnsignedOrText,
    /// A text or a whole number from 0.
    StringOrUnsigned,
    /// A time such as `"1h30m"`, or whole seconds.
    Duration,
    /// A list of texts.
    Strings,
    /// One text or a list of them.
    StringOrStrings,
    /// A text as an element of a list.
    Element,
    /// A map of lists.
    Lists,
    /// A list of texts, numbers and truth values.
    ScalarList,
    /// An element of such a list.
    Scalar,
    /// A map from texts to texts, or to lists of them.
    TextsByName,
    /// A text, or a text in quotes, as a key of a map.
    MapKey,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Unsigned | Self::UnsignedOrText => "a whole number",
            Self::StringOrUnsigned => "a string or a whole number",
            Self::Duration => "a duration such as \"90s\" or a whole number of seconds",
            Self::Strings => "a list of strings",
            Self::StringOrStrings => "a string or a list of strings",
            Self::Element => "strings in the list",
            Self::Lists => "a map of lists, such as { \"name\" = [\"value\"] }",
            Self::ScalarList => "a list of strings, numbers, true and false",
            Self::Scalar => "strings, numbers, true and false in the list",
            Self::TextsByName => "a map such as { \"name\" = \"value\" }",
            Self::MapKey => "names or strings as keys",
        })
    }
}

/// What stands where a value should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0 up.
    Number,
    /// A number below 0.
    NegativeNumber,
    /// A number with a fraction or exponent, or one beyond 64 bits.
    Fraction,
    /// A text.
    String,
    /// A list.
    List,
    /// A map.
    Map,
    /// A text with `${` or `%{` in it.
    Template,
    /// A bare word.
    Variable,
    /// A function call.
    FunctionCall,
    /// Anything else that would have to be computed.
    Expression,
}

impl FoundValue {
    pub(crate) fn is_literal(self) -> bool {
        match self {
            Self::Null | Self::Boolean | Self::Number | Self::NegativeNumber => true,
            Self::Fraction | Self::String | Self::List | Self::Map => true,
            Self::Template | Self::Variable | Self::FunctionCall | Self::Expression => false,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Template => "; write \"$${\" or \"%%{\" where these characters are meant",
            Self::Variable => "; a text stands in quotes",
            _ => "",
        }
    }
}

impl fmt::Display for FoundValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::NegativeNumber => "a negative number",
            Self::Fraction => "a fraction or too large a number",
            Self::String => "a string",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Template => "a template",
            Self::Variable => "a variable",
            Self::FunctionCall => "a function call",
            Self::Expression => "an expression",
        })
    }
}

/// Everything that is wrong; at least one thing is.
#[derive(Debug)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    pub(crate) fn from_one(problem: Problem) -> Self {
        Self { list: vec![problem], omitted: 0 }
    }

    pub(crate) fn from_list(list: Vec<Problem>, omitted: usize) -> Option<Self> {
        (!list.is_empty()).then_some(Self { list, omitted })
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }

    /// The problems, those of one file in order of position.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many more there are.
    #[must_use]
    pub const fn omitted(&self) -> usize {
        self.omitted
    }
}

/// One line for each problem.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl Error for Problems {}

/// A name from the file, quoted and escaped, so that it can forge no line of a log, and cut, so
/// that it cannot fill one.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        match self.0.char_indices().nth(LONGEST).and_then(|(end, _)| self.0.get(..end)) {
            Some(start) => write!(f, "{start:?}..."),
            None => write!(f, "{:?}", self.0),
        }
    }
}

struct In<'a>(&'a str);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " in {}", self.0) }
    }
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |meant| write!(f, "; did you mean {meant:?}?"))
    }
}

struct HintSuffix<'a>(Option<&'a Hint>);

impl fmt::Display for HintSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

struct Labels(usize);

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no label"),
            1 => f.write_str("one label"),
            more => write!(f, "{more} labels"),
        }
    }
}

pub(crate) fn title(block: &str, label: Option<&str>) -> String {
    label.map_or_else(|| block.to_owned(), |label| format!("{block} {}", Name(label)))
}
