//! A parsed file, places in it, and the collection of what is wrong with it.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hcl_edit::Span;
use hcl_edit::parser::parse_body;
use hcl_edit::structure::Body;

use crate::problem::{Kind, Position, Problem, Problems};
use crate::section::Section;

/// Beyond this many the reader learns nothing, and a hostile file would only cost memory.
const MAX_PROBLEMS: usize = 100;

/// A file of HCL whose syntax is right. Problems found while decoding gather in it until
/// [`Document::finish`].
pub struct Document {
    file: Arc<str>,
    pub(crate) text: String,
    body: Body,
    found: RefCell<Vec<(usize, Kind)>>,
    elsewhere: RefCell<Vec<Problem>>,
    omitted: Cell<usize>,
    open_sections: Cell<usize>,
}

impl Document {
    /// Parses `text`; `file` is what its problems are reported under.
    ///
    /// # Errors
    ///
    /// One problem, where the syntax breaks: a parser cannot know what was meant after that.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let file = Arc::<str>::from(file);
        let body = parse_body(text)
            .map_err(|error| Problems::from_one(Problem::from_syntax(&file, text, &error)))?;
        Ok(Self {
            file,
            text: text.to_owned(),
            body,
            found: RefCell::default(),
            elsewhere: RefCell::default(),
            omitted: Cell::new(0),
            open_sections: Cell::new(0),
        })
    }

    /// The top level of the file.
    pub fn root(&self) -> Section<'_> {
        Section::new(Place { document: self, offset: 0 }, &self.body, String::new())
    }

    /// Adds problems of another file that this one names.
    pub fn include(&self, problems: Problems) {
        self.elsewhere.borrow_mut().extend(problems.into_list());
    }

    /// Whether any problem was reported so far.
    pub fn has_problems(&self) -> bool {
        !self.found.borrow().is_empty() || !self.elsewhere.borrow().is_empty()
    }

    /// Ends decoding. The caller must have called [`Section::finish`] on every section, save where
    /// it gave up after a problem.
    ///
    /// # Errors
    ///
    /// All problems, those of one file in order of position.
    pub fn finish(self) -> Result<(), Problems> {
        debug_assert!(self.has_problems() || self.open_sections.get() == 0, "unfinished section");
        let mut found = self.found.into_inner();
        found.sort_by_key(|(offset, _)| *offset);
        let mut cursor = Cursor::new(&self.text);
        let mut list = Vec::with_capacity(found.len());
        for (offset, kind) in found {
            let position = cursor.advance_to(offset);
            list.push(Problem { file: Arc::clone(&self.file), position, kind });
        }
        list.append(&mut self.elsewhere.into_inner());
        Problems::from_list(list, self.omitted.get()).map_or(Ok(()), Err)
    }

    pub(crate) fn section_opened(&self) {
        self.open_sections.update(|open| open.saturating_add(1));
    }

    pub(crate) fn section_finished(&self) {
        self.open_sections.update(|open| open.saturating_sub(1));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.found.borrow().len() >= MAX_PROBLEMS
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A place in a document, for problems that only its reader can see.
#[derive(Clone, Copy)]
pub struct Place<'d> {
    pub(crate) document: &'d Document,
    offset: usize,
}

impl<'d> Place<'d> {
    pub(crate) fn of(document: &'d Document, what: &impl Span) -> Self {
        Self { document, offset: what.span().map_or(0, |span| span.start) }
    }

    /// The document this is a place in.
    pub fn document(self) -> &'d Document {
        self.document
    }

    /// The name of the file.
    pub fn file(self) -> Arc<str> {
        Arc::clone(&self.document.file)
    }

    /// Line and column. Takes time linear in the file: for what is shown, not for every value.
    pub fn position(self) -> Position {
        Cursor::new(&self.document.text).advance_to(self.offset)
    }

    /// Reports what is wrong here, in the caller's own words.
    pub fn report(self, error: impl Error + Send + Sync + 'static) {
        self.add(Kind::Refused(Box::new(error)));
    }

    pub(crate) fn add(self, kind: Kind) {
        if self.document.is_full() {
            self.document.omitted.update(|omitted| omitted.saturating_add(1));
        } else {
            self.document.found.borrow_mut().push((self.offset, kind));
        }
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.document.file, self.position())
    }
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Located<'d, T> {
    /// The value.
    pub value: T,
    /// Where it stands in its file.
    pub place: Place<'d>,
}

impl<'d, T> Located<'d, T> {
    pub(crate) fn new(value: T, place: Place<'d>) -> Self {
        Self { value, place }
    }

    /// The same place with another value.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Located<'d, U> {
        Located::new(convert(self.value), self.place)
    }

    /// Converts the value; a failure is reported here.
    pub fn try_map<U, E>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Option<Located<'d, U>>
    where
        E: Error + Send + Sync + 'static,
    {
        match convert(self.value) {
            Ok(value) => Some(Located::new(value, self.place)),
            Err(error) => {
                self.place.report(error);
                None
            }
        }
    }
}

/// Turns ascending offsets into positions in one pass over the text.
struct Cursor<'t> {
    rest: &'t str,
    offset: usize,
    position: Position,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: text, offset: 0, position: Position::START }
    }

    fn advance_to(&mut self, offset: usize) -> Position {
        let Some((passed, rest)) = self.rest.split_at_checked(offset.saturating_sub(self.offset))
        else {
            return self.position;
        };
        self.position = passed.chars().fold(self.position, Position::after);
        self.rest = rest;
        self.offset = offset;
        self.position
    }
}
