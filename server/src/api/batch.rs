//! `batch_input`, which Vault decodes more strictly than single fields: no weak typing, and an
//! error text that names every item at fault.

use std::{borrow::Cow, fmt};

use super::{
    ApiError, SecretText,
    members::{Members, Value},
    quote::Quoted,
    text::quotable,
};

/// Vault has no limit of its own; the memory of one request must have one.
pub const MOST_ITEMS: usize = 20_000;

/// What an item may come to, besides its own text, until the reply is sent: an envelope of a few
/// recipients, twice.
pub const ITEM_BYTES: usize = 4096;

/// One thing to encrypt, decrypt or rewrap. An empty context, nonce or associated data counts as
/// absent.
#[derive(Debug)]
pub struct BatchItem<'a> {
    /// Base64 of the plaintext of an encrypt; else the ciphertext, which may be empty in a batch.
    pub text: SecretText<'a>,
    /// Base64 of the context for key derivation.
    pub context: Option<SecretText<'a>>,
    /// Base64 of a nonce; only convergent keys of Vault 0.6.1 have a use for it.
    pub nonce: Option<SecretText<'a>>,
    /// Base64 of the associated data.
    pub associated_data: Option<SecretText<'a>>,
    /// Version of the key to encrypt with; 0 is the latest.
    pub key_version: i64,
    /// The client's name for the item, repeated in its result.
    pub reference: Cow<'a, str>,
}

/// Which endpoint a batch is for: they differ in what is required and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchOperation {
    Encrypt,
    Decrypt,
    /// Decoded by another library in Vault, with other texts.
    Rewrap,
}

/// The batch's form is wrong; nothing in its text comes from a field that may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchShapeError {
    operation: Shape,
    fault: Fault,
}

/// Whose texts: Vault's own decoder's, or those of the library behind rewrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Vault,
    Library,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    NotAList { got: &'static str },
    NotAMap { index: usize, got: &'static str },
    Items { shown: Vec<ItemFault>, count: usize },
    TooLarge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ItemFault {
    index: usize,
    field: &'static str,
    problem: ItemProblem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ItemProblem {
    Missing,
    NotAMap { got: &'static str },
    Unconvertible { wanted: &'static str, got: &'static str },
    NotAnInt { value: Option<Box<str>> },
}

/// Items whose faults are spelled out; all are counted.
const MOST_FAULTS_SHOWN: usize = 100;

impl BatchOperation {
    pub(super) const fn text_field(self) -> &'static str {
        match self {
            Self::Encrypt => "plaintext",
            Self::Decrypt | Self::Rewrap => "ciphertext",
        }
    }

    const fn shape(self) -> Shape {
        match self {
            Self::Encrypt | Self::Decrypt => Shape::Vault,
            Self::Rewrap => Shape::Library,
        }
    }
}

/// Decodes a `batch_input` that is not null.
///
/// # Errors
///
/// [`ApiError::BatchShape`], [`ApiError::EmptyBatch`], [`ApiError::MixedContexts`].
pub(super) fn decode<'a>(
    batch: &Value<'a>,
    operation: BatchOperation,
) -> Result<Vec<BatchItem<'a>>, ApiError> {
    let items = decode_items(batch, operation).map_err(|fault| {
        ApiError::BatchShape(BatchShapeError { operation: operation.shape(), fault })
    })?;
    let Some(first) = items.first() else {
        return Err(ApiError::EmptyBatch);
    };
    let is_mixed = |item: &BatchItem<'_>| item.context.is_some() != first.context.is_some();
    if items.iter().any(is_mixed) {
        return Err(ApiError::MixedContexts);
    }
    Ok(items)
}

fn decode_items<'a>(
    batch: &Value<'a>,
    operation: BatchOperation,
) -> Result<Vec<BatchItem<'a>>, Fault> {
    let Value::Array(array) = batch else {
        let got = match operation.shape() {
            Shape::Vault => batch.go_type(),
            Shape::Library => batch.go_kind(),
        };
        return Err(Fault::NotAList { got });
    };
    let elements = Value::elements(array, MOST_ITEMS).ok_or(Fault::TooLarge)?;
    let mut faults = Faults::default();
    let mut items = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let members = match (element, operation.shape()) {
            (Value::Object(object), _) => {
                Members::parse(object.get().as_bytes()).or(Err(Fault::TooLarge))?
            }
            (Value::Null, Shape::Library) => Members::default(),
            (other, Shape::Library) => {
                faults.add(index, "", ItemProblem::NotAMap { got: other.go_kind() });
                continue;
            }
            (other, Shape::Vault) => {
                return Err(Fault::NotAMap { index, got: other.go_type() });
            }
        };
        let mut reader = ItemReader { index, members, operation, faults: &mut faults };
        items.push(reader.item());
    }
    faults.into_result(items)
}

#[derive(Default)]
struct Faults {
    shown: Vec<ItemFault>,
    count: usize,
}

impl Faults {
    fn add(&mut self, index: usize, field: &'static str, problem: ItemProblem) {
        self.count = self.count.saturating_add(1);
        if self.shown.len() < MOST_FAULTS_SHOWN {
            self.shown.push(ItemFault { index, field, problem });
        }
    }

    fn into_result<T>(self, items: T) -> Result<T, Fault> {
        if self.count == 0 {
            return Ok(items);
        }
        Err(Fault::Items { shown: self.shown, count: self.count })
    }
}

struct ItemReader<'a, 'f> {
    index: usize,
    members: Members<'a>,
    operation: BatchOperation,
    faults: &'f mut Faults,
}

impl<'a> ItemReader<'a, '_> {
    /// Reads every field, also of an item at fault, since each fault is to be named.
    fn item(&mut self) -> BatchItem<'a> {
        let context = self.text("context");
        let ciphertext = self.text("ciphertext");
        let plaintext = self.text("plaintext");
        let text = match self.operation {
            BatchOperation::Encrypt => plaintext,
            BatchOperation::Decrypt | BatchOperation::Rewrap => ciphertext,
        };
        BatchItem {
            text: text.unwrap_or(SecretText::borrowed("")),
            context: context.filter(|text| !text.is_empty()),
            nonce: self.text("nonce").filter(|text| !text.is_empty()),
            key_version: self.key_version(),
            associated_data: self.text("associated_data").filter(|text| !text.is_empty()),
            reference: self.text("reference").map(SecretText::into_public).unwrap_or_default(),
        }
    }

    fn text(&mut self, field: &'static str) -> Option<SecretText<'a>> {
        let is_required = field == self.operation.text_field();
        match (self.members.take(field), self.operation.shape()) {
            (Some(Value::Text(text)), _) => Some(text),
            (Some(Value::Number(digits)), Shape::Library) => Some(SecretText::borrowed(digits)),
            (None, Shape::Vault) if is_required => {
                self.faults.add(self.index, field, ItemProblem::Missing);
                None
            }
            // A `null` plaintext alone is one fault more to Vault's decoder.
            (Some(Value::Null), Shape::Vault) if field == "plaintext" => {
                self.unconvertible(field, "string", &Value::Null);
                None
            }
            (None | Some(Value::Null), _) => None,
            (Some(other), _) => {
                self.unconvertible(field, "string", &other);
                None
            }
        }
    }

    fn key_version(&mut self) -> i64 {
        const FIELD: &str = "key_version";
        match self.members.take(FIELD) {
            None | Some(Value::Null) => 0,
            Some(Value::Number(digits)) => digits.parse().unwrap_or_else(|_| {
                let problem = ItemProblem::NotAnInt { value: quotable(digits) };
                self.faults.add(self.index, FIELD, problem);
                0
            }),
            Some(other) => {
                self.unconvertible(FIELD, "int", &other);
                0
            }
        }
    }

    fn unconvertible(&mut self, field: &'static str, wanted: &'static str, value: &Value<'_>) {
        let got = value.go_type();
        self.faults.add(self.index, field, ItemProblem::Unconvertible { wanted, got });
    }
}

/// Vault's text, as it follows `failed to parse batch input: `.
impl fmt::Display for BatchShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::NotAList { got } => {
                let prefix = match self.operation {
                    Shape::Vault => "",
                    Shape::Library => "'': ",
                };
                write!(f, "{prefix}source data must be an array or slice, got {got}")
            }
            Fault::NotAMap { index, got } => write!(f, "[{index}] expected a map, got '{got}'"),
            Fault::Items { shown, count } => {
                let mut lines: Vec<String> = shown.iter().map(|item| format!("* {item}")).collect();
                lines.sort();
                write!(f, "{count} error(s) decoding:\n\n{}", lines.join("\n"))
            }
            Fault::TooLarge => write!(f, "more than {MOST_ITEMS} items, or an item too complex"),
        }
    }
}

impl fmt::Display for ItemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, field, problem } = self;
        match problem {
            ItemProblem::Missing => {
                let purpose = if *field == "plaintext" { "encrypt" } else { "decrypt" };
                write!(f, "'[{index}].{field}' missing {field} to {purpose}")
            }
            ItemProblem::NotAMap { got } => write!(f, "'[{index}]' expected a map, got '{got}'"),
            ItemProblem::Unconvertible { wanted, got } => write!(
                f,
                "'[{index}].{field}' expected type '{wanted}', got unconvertible type '{got}'"
            ),
            ItemProblem::NotAnInt { value } => {
                let value = Quoted(value.as_deref().unwrap_or_default());
                write!(
                    f,
                    "error decoding json.Number into [{index}].{field}: strconv.ParseInt: parsing \
                     {value}: invalid syntax"
                )
            }
        }
    }
}

impl std::error::Error for BatchShapeError {}

#[cfg(test)]
mod tests;
