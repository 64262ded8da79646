//! Which type of tokens is given: what a token role, or the mount of a login, says of it.

use selkie_config::TokenType;
use serde::{Deserialize, Serialize};

use super::TokenKind;

/// Vault's `token_type` of a token role, and of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenTokenType {
    /// What the request, or the role of the login, says, else service tokens.
    #[default]
    DefaultService,
    /// What the request, or the role of the login, says, else batch tokens.
    DefaultBatch,
    /// Service tokens.
    Service,
    /// Batch tokens.
    Batch,
}

impl GivenTokenType {
    const ALL: [Self; 4] = [Self::DefaultService, Self::DefaultBatch, Self::Service, Self::Batch];

    /// Vault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// What a login comes to whose role has `role` for its own `token_type`.
    #[must_use]
    pub const fn kind(self, role: TokenType) -> TokenKind {
        match (self, role) {
            (Self::Service, _)
            | (Self::DefaultService | Self::DefaultBatch, TokenType::Service)
            | (Self::DefaultService, TokenType::Default) => TokenKind::Service,
            (Self::Batch, _)
            | (Self::DefaultService | Self::DefaultBatch, TokenType::Batch)
            | (Self::DefaultBatch, TokenType::Default) => TokenKind::Batch,
        }
    }
}
