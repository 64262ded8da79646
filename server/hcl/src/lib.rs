//! Typed decoding of HCL by span: text in, values of exactly the type that was asked for out, and
//! every problem of a file with its line, its column and the likely meaning of a typo. It never
//! coerces a value, never evaluates an expression, never ignores what nobody asked for, and knows
//! no field by name: that is the caller's.
//!
//! ```
//! # use selkie_hcl::Document;
//! let document = Document::parse("x.hcl", "path \"a\" {\n  minutes = 5\n}\n")?;
//! let mut root = document.root();
//! for (label, mut section) in root.labelled("path") {
//!     let minutes = section.field("minutes").required().unsigned();
//!     section.finish();
//!     assert_eq!((label.value.as_str(), minutes.map(|m| m.value)), ("a", Some(5)));
//! }
//! root.finish();
//! document.finish()?;
//! # Ok::<(), selkie_hcl::Problems>(())
//! ```

mod document;
mod duration;
mod field;
mod int;
mod problem;
mod seconds;
mod section;
mod suggestion;

pub use document::{Document, Located, Place};
pub use duration::{DurationError, parse_duration};
pub use field::{Field, Lists, NumberTextError, Scalar, StringOrUnsigned, TextsByName};
pub use int::{IntProblem, parse_int};
pub use problem::{Expected, FoundValue, Hint, Kind, Position, Problem, Problems};
pub use seconds::{DurationProblem, parse_seconds};
pub use section::Section;

#[cfg(test)]
mod tests;
