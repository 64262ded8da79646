//! Who may do what: policies in Vault's language, the ACL they compile to, the permits that only
//! its check can make, and the text of tokens. This crate does no I/O, reads no clock, writes no
//! log and knows no HTTP; it never decides who somebody is, only what their policies allow.

mod acl;
mod capability;
mod constraints;
mod identity;
mod names;
pub mod operation;
mod pattern;
mod permit;
mod policy;
mod request;
mod template;
mod token;

pub use self::acl::Acl;
pub use self::capability::{Capability, UnknownCapability};
pub use self::identity::{Alias, CERTIFICATE_FIELDS, Identity};
pub use self::names::{KeyName, ManyPolicies, MountPath, NameError, PolicyName};
pub use self::permit::{Check, Denied, ListPermit, PathPermit, Permit};
pub use self::policy::{Policy, PolicyError};
pub use self::request::{Bare, Parameter, Request};
pub use self::token::{InvalidTokenHash, TokenHash, TokenText, TokenTextError, draw_accessor};
