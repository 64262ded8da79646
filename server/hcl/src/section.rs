//! The inside of a file or block: which fields and blocks were asked for, and what is left over.

use std::collections::BTreeSet;
use std::error::Error;

use hcl_edit::Span;
use hcl_edit::structure::{Block, Body, Structure};

use crate::document::{Located, Place};
use crate::field::Field;
use crate::problem::{Kind, title};
use crate::suggestion::closest;

/// The inside of a file or of one block. Ask for all that it may hold, then call
/// [`Section::finish`]: whatever was not asked for is a problem.
#[derive(Debug)]
pub struct Section<'d> {
    place: Place<'d>,
    body: &'d Body,
    title: String,
    fields: Vec<&'static str>,
    blocks: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'d> Section<'d> {
    pub(crate) fn new(place: Place<'d>, body: &'d Body, title: String) -> Self {
        place.document.section_opened();
        Self { place, body, title, fields: vec![], blocks: vec![], refused: vec![] }
    }

    /// Where the section begins.
    pub fn place(&self) -> Place<'d> {
        self.place
    }

    /// The source text of what stands inside, without the braces.
    pub fn text(&self) -> &'d str {
        let span = self.body.span().unwrap_or_default();
        self.place.document.text.get(span).unwrap_or_default()
    }

    /// How the section is named in messages, such as `listener "tcp"`; empty for the top level.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The field `name`, there or not.
    pub fn field(&mut self, name: &'static str) -> Field<'d> {
        self.fields.push(name);
        for block in self.blocks_named(name) {
            Place::of(self.place.document, &block.ident).add(Kind::FieldAsBlock { name });
        }
        Field::new(name, self.place, self.body.get_attribute(name), &self.title)
    }

    /// The blocks `name { ... }`, which take no label.
    pub fn blocks(&mut self, name: &'static str) -> Vec<Self> {
        self.expect_blocks(name)
            .filter_map(|block| {
                self.labels::<0>(name, block)?;
                Some(self.inside(name, block, None))
            })
            .collect()
    }

    /// The block `name { ... }`, which takes no label and may stand once.
    pub fn block(&mut self, name: &'static str) -> Option<Self> {
        let mut found = None;
        for section in self.blocks(name) {
            if found.is_none() {
                found = Some(section);
            } else {
                section.place.add(Kind::RepeatedBlock { name });
            }
        }
        found
    }

    /// The blocks `name "label" { ... }`; several may have the same label.
    pub fn labelled(&mut self, name: &'static str) -> Vec<(Located<'d, String>, Self)> {
        self.expect_blocks(name)
            .filter_map(|block| {
                let [label] = self.labels::<1>(name, block)?;
                let section = self.inside(name, block, Some(&label.value));
                Some((label, section))
            })
            .collect()
    }

    /// The blocks `name "label" { ... }`, each label once; a repeated one is reported and left out.
    pub fn uniquely_labelled(&mut self, name: &'static str) -> Vec<(Located<'d, String>, Self)> {
        let mut seen = BTreeSet::new();
        let mut found = self.labelled(name);
        found.retain(|(label, _)| {
            let is_new = seen.insert(label.value.clone());
            if !is_new {
                let label_text = label.value.clone();
                label.place.add(Kind::RepeatedLabel { name, label: label_text });
            }
            is_new
        });
        found
    }

    /// Refuses the field or block `name` in the caller's own words, wherever it stands; it is
    /// never suggested as the meaning of a typo.
    pub fn refuse<E: Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        error: impl Fn() -> E,
    ) {
        self.refused.push(name);
        for structure in self.body {
            let key = match structure {
                Structure::Attribute(attribute) => &attribute.key,
                Structure::Block(block) => &block.ident,
            };
            if key.as_str() == name {
                Place::of(self.place.document, key).report(error());
            }
        }
    }

    /// Reports everything in the section that was not asked for.
    pub fn finish(self) {
        let document = self.place.document;
        document.section_finished();
        for structure in self.body {
            let (key, is_field) = match structure {
                Structure::Attribute(attribute) => (&attribute.key, true),
                Structure::Block(block) => (&block.ident, false),
            };
            let name = key.as_str();
            let mut known = self.fields.iter().chain(&self.blocks).chain(&self.refused);
            if known.any(|known| *known == name) {
                continue;
            }
            let kind = self.unknown(name, is_field);
            Place::of(document, key).add(kind);
        }
    }

    /// Reads nothing more of the section, whatever else stands in it.
    pub fn ignore_the_rest(self) {
        self.place.document.section_finished();
    }

    fn unknown(&self, name: &str, is_field: bool) -> Kind {
        let known = if is_field { &self.fields } else { &self.blocks };
        let meant = if self.place.document.is_full() { None } else { closest(name, known) };
        let (name, section) = (name.to_owned(), self.title.clone());
        if is_field {
            Kind::UnknownField { name, section, meant }
        } else {
            Kind::UnknownBlock { name, section, meant }
        }
    }

    fn blocks_named(&self, name: &'static str) -> impl Iterator<Item = &'d Block> + use<'d> {
        self.body.blocks().filter(move |block| block.ident.as_str() == name)
    }

    fn expect_blocks(&mut self, name: &'static str) -> impl Iterator<Item = &'d Block> + use<'d> {
        self.blocks.push(name);
        if let Some(attribute) = self.body.get_attribute(name) {
            Place::of(self.place.document, &attribute.key).add(Kind::BlockAsField { name });
        }
        self.blocks_named(name)
    }

    fn labels<const N: usize>(
        &self,
        name: &'static str,
        block: &'d Block,
    ) -> Option<[Located<'d, String>; N]> {
        let labels: Vec<_> = block
            .labels
            .iter()
            .map(|label| {
                let place = Place::of(self.place.document, label);
                Located::new(label.as_str().to_owned(), place)
            })
            .collect();
        let found = labels.len();
        let labels = <[_; N]>::try_from(labels).ok();
        if labels.is_none() {
            let kind = Kind::LabelCount { name, wanted: N, found };
            Place::of(self.place.document, &block.ident).add(kind);
        }
        labels
    }

    fn inside(&self, name: &str, block: &'d Block, label: Option<&str>) -> Self {
        let place = Place::of(self.place.document, &block.ident);
        Section::new(place, &block.body, title(name, label))
    }
}
