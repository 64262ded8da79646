//! Texts with `{{...}}` in them, which stand for something of the client.

use crate::identity::{CERTIFICATE_FIELDS, Identity};

/// A text with at least one `{{...}}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Known(Known),
}

/// What can be known of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    EntityId,
    EntityName,
    EntityMetadata(Box<str>),
    AliasName { accessor: Box<str> },
    AliasMetadata { accessor: Box<str>, key: Box<str> },
    TokenDisplayName,
    TokenMetadata(Box<str>),
    Certificate(Box<str>),
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `{{` and `}}` do not come in pairs.
    #[error("\"{{{{\" and \"}}}}\" do not come in pairs")]
    Unbalanced,
    /// What stands between is nothing that is known here of any client.
    #[error(
        "unknown template; there are identity.entity.id, identity.entity.name, \
         identity.entity.metadata.KEY, identity.entity.aliases.ACCESSOR.name, \
         identity.entity.aliases.ACCESSOR.metadata.KEY, token.display_name, token.metadata.KEY and \
         certificate.FIELD"
    )]
    Unknown,
    /// Vault knows it, and nothing here does.
    #[error("no groups are kept here, so no template can name one or its members")]
    Groups,
    /// The same.
    #[error(
        "of an alias there are only its name and metadata.KEY: ids and custom_metadata are not \
         kept here"
    )]
    Alias,
    /// No such field of a certificate is told.
    #[error("unknown field of a certificate; there are {}", CERTIFICATE_FIELDS.join(", "))]
    CertificateField,
}

impl Template {
    /// Reads a text as Vault does; `None` if it is the same for every client.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, TemplateError> {
        let mut parts = text.split("{{");
        let first = parts.next().unwrap_or_default();
        if first.contains("}}") {
            return Err(TemplateError::Unbalanced);
        }
        let mut pieces = vec![Piece::Literal(first.into())];
        for part in parts {
            let (known, literal) = part.split_once("}}").ok_or(TemplateError::Unbalanced)?;
            if literal.contains("}}") {
                return Err(TemplateError::Unbalanced);
            }
            pieces.push(Piece::Known(Known::parse(known.trim())?));
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok((pieces.len() > 1).then_some(Self(pieces)))
    }

    /// Whether it names a client by what no login is called: its display name, which is not known of
    /// one, or its entity's name, which is made of an id.
    pub(crate) fn names_no_login(&self) -> bool {
        let is_name = |piece: &Piece| {
            matches!(piece, Piece::Known(Known::EntityName | Known::TokenDisplayName))
        };
        self.0.iter().any(is_name)
    }

    /// The text for the client of whom `identity` is known; `None` where something is not, or where
    /// `fits` refuses what is.
    pub(crate) fn resolve(
        &self,
        identity: &Identity,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Some(&**text),
            Piece::Known(known) => known.of(identity).filter(|text| fits(text)),
        });
        pieces.collect()
    }
}

impl Known {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        let after = |prefix| text.strip_prefix(prefix).filter(|key: &&str| !key.is_empty());
        if let Some(rest) = after("identity.entity.aliases.") {
            return Self::of_alias(rest);
        }
        let are_groups = ["identity.groups.", "identity.entity.groups."];
        if are_groups.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(TemplateError::Groups);
        }
        if let Some(field) = after("certificate.") {
            let is_known = CERTIFICATE_FIELDS.contains(&field);
            let field = is_known.then(|| Self::Certificate(field.into()));
            return field.ok_or(TemplateError::CertificateField);
        }
        let found = match text {
            "identity.entity.id" => Some(Self::EntityId),
            "identity.entity.name" => Some(Self::EntityName),
            "token.display_name" => Some(Self::TokenDisplayName),
            _ => after("identity.entity.metadata.")
                .map(|key| Self::EntityMetadata(key.into()))
                .or_else(|| after("token.metadata.").map(|key| Self::TokenMetadata(key.into()))),
        };
        found.ok_or(TemplateError::Unknown)
    }

    /// `ACCESSOR.name` or `ACCESSOR.metadata.KEY`.
    fn of_alias(text: &str) -> Result<Self, TemplateError> {
        let (accessor, field) = text.split_once('.').ok_or(TemplateError::Unknown)?;
        let accessor = accessor.into();
        match field.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
            _ if field == "name" => Ok(Self::AliasName { accessor }),
            Some(key) => Ok(Self::AliasMetadata { accessor, key: key.into() }),
            None if field == "id" || field.starts_with("custom_metadata") => {
                Err(TemplateError::Alias)
            }
            None => Err(TemplateError::Unknown),
        }
    }

    fn of<'i>(&self, identity: &'i Identity) -> Option<&'i str> {
        let found = match self {
            Self::EntityId => Some(&identity.id),
            Self::EntityName => Some(&identity.name),
            Self::EntityMetadata(key) => identity.metadata.get(&**key),
            Self::AliasName { accessor } => {
                identity.aliases.get(&**accessor).map(|alias| &alias.name)
            }
            Self::AliasMetadata { accessor, key } => {
                identity.aliases.get(&**accessor).and_then(|alias| alias.metadata.get(&**key))
            }
            Self::TokenDisplayName => Some(&identity.token_display_name),
            Self::TokenMetadata(key) => identity.token_metadata.get(&**key),
            Self::Certificate(key) => identity.certificate.get(&**key),
        };
        found.map(String::as_str).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::identity::Alias;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn identity() -> Identity {
        let alias = Alias { name: "sa".into(), metadata: map(&[("ns", "prod"), ("a.b", "dots")]) };
        Identity {
            id: "e-1".into(),
            name: "vault-1".into(),
            metadata: map(&[("team", "core"), ("empty", "")]),
            aliases: [("auth_jwt_1".to_owned(), alias)].into(),
            token_display_name: "jwt-sa".into(),
            token_metadata: map(&[("role", "seal")]),
            certificate: map(&[("common_name", "vault.example")]),
        }
    }

    fn resolved(text: &str) -> Option<String> {
        let template = Template::parse(text).expect("a template").expect("with something in it");
        template.resolve(&identity(), |_| true)
    }

    #[test]
    fn every_field_of_a_client_can_be_meant() {
        let cases = [
            ("identity.entity.id", "e-1"),
            ("identity.entity.name", "vault-1"),
            ("identity.entity.metadata.team", "core"),
            ("identity.entity.aliases.auth_jwt_1.name", "sa"),
            ("identity.entity.aliases.auth_jwt_1.metadata.ns", "prod"),
            ("identity.entity.aliases.auth_jwt_1.metadata.a.b", "dots"),
            ("token.display_name", "jwt-sa"),
            ("token.metadata.role", "seal"),
            ("certificate.common_name", "vault.example"),
        ];
        for (field, value) in cases {
            assert_eq!(resolved(&format!("a/{{{{{field}}}}}/b")), Some(format!("a/{value}/b")));
            assert_eq!(resolved(&format!("{{{{ {field}\t}}}}")).as_deref(), Some(value));
        }
        let two = "{{identity.entity.name}}{{ token.display_name }}";
        assert_eq!(resolved(two).as_deref(), Some("vault-1jwt-sa"));
    }

    #[test]
    fn what_is_not_known_or_empty_resolves_to_nothing() {
        for field in [
            "identity.entity.metadata.other",
            "identity.entity.metadata.empty",
            "identity.entity.aliases.other.name",
            "identity.entity.aliases.auth_jwt_1.metadata.other",
            "token.metadata.other",
            "certificate.serial_number",
        ] {
            assert_eq!(resolved(&format!("a/{{{{{field}}}}}")), None, "{field}");
        }
    }

    #[test]
    fn braces_come_in_pairs_and_hold_something_known() {
        for text in ["{{", "}}", "a}}b", "{{identity.entity.name", "{{token.display_name}}}}"] {
            assert_eq!(Template::parse(text), Err(TemplateError::Unbalanced), "{text}");
        }
        for text in [
            "{{}}",
            "{{x}}",
            "{{identity.entity.metadata}}",
            "{{identity.entity.metadata.}}",
            "{{identity.entity.aliases.a}}",
            "{{identity.entity.aliases.a.metadata.}}",
            "{{certificate.}}",
            "{{time.now}}",
        ] {
            assert_eq!(Template::parse(text), Err(TemplateError::Unknown), "{text}");
        }
        for (text, error) in [
            ("{{identity.groups.names.a.id}}", TemplateError::Groups),
            ("{{identity.entity.groups.ids}}", TemplateError::Groups),
            ("{{identity.entity.aliases.a.id}}", TemplateError::Alias),
            ("{{identity.entity.aliases.a.custom_metadata.k}}", TemplateError::Alias),
            ("{{certificate.issuer}}", TemplateError::CertificateField),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        for text in ["", "a", "{a}", "a{b}c"] {
            assert_eq!(Template::parse(text), Ok(None), "{text}");
        }
    }
}
