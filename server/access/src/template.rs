//! Texts with `{{...}}` in them, which stand for something of the client.

use crate::identity::Identity;

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
        "unknown template; there are identity.entity.name, identity.entity.metadata.KEY, \
         identity.entity.aliases.ACCESSOR.name, identity.entity.aliases.ACCESSOR.metadata.KEY, \
         token.display_name, token.metadata.KEY and certificate.FIELD"
    )]
    Unknown,
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
            pieces.push(Piece::Known(Known::parse(known.trim()).ok_or(TemplateError::Unknown)?));
            pieces.push(Piece::Literal(literal.into()));
        }
        Ok((pieces.len() > 1).then_some(Self(pieces)))
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
    fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("identity.entity.aliases.") {
            let (accessor, field) = rest.split_once('.')?;
            let accessor = accessor.into();
            return match field {
                "name" => Some(Self::AliasName { accessor }),
                _ => Some(Self::AliasMetadata {
                    accessor,
                    key: field.strip_prefix("metadata.")?.into(),
                }),
            };
        }
        let after = |prefix| text.strip_prefix(prefix).filter(|key: &&str| !key.is_empty());
        match text {
            "identity.entity.name" => Some(Self::EntityName),
            "token.display_name" => Some(Self::TokenDisplayName),
            _ => after("identity.entity.metadata.")
                .map(|key| Self::EntityMetadata(key.into()))
                .or_else(|| after("token.metadata.").map(|key| Self::TokenMetadata(key.into())))
                .or_else(|| after("certificate.").map(|key| Self::Certificate(key.into()))),
        }
    }

    fn of<'i>(&self, identity: &'i Identity) -> Option<&'i str> {
        let found = match self {
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
            "{{identity.entity.id}}",
            "{{identity.groups.names.a.id}}",
            "{{identity.entity.metadata.}}",
            "{{identity.entity.aliases.a}}",
        ] {
            assert_eq!(Template::parse(text), Err(TemplateError::Unknown), "{text}");
        }
        for text in ["", "a", "{a}", "a{b}c"] {
            assert_eq!(Template::parse(text), Ok(None), "{text}");
        }
    }
}
