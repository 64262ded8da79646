//! `approle`: a role's id and a secret id make a token.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{AuthMount, Method, MethodError, MethodReply, MethodRequest};
use crate::api::route::Operation;
use crate::state::records::{Mirrors, Records, RecordsError};

/// The method.
#[derive(Debug, Default)]
pub(super) struct AppRole;

#[async_trait]
impl Method for AppRole {
    fn kind(&self) -> &'static str {
        "approle"
    }

    fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        Vec::new()
    }

    fn is_login(&self, rest: &str, operation: Operation) -> bool {
        rest == "login" && operation == Operation::Update
    }

    fn creates(&self, _mount: &AuthMount, _rest: &str) -> bool {
        false
    }

    async fn answer(&self, _request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        Err(MethodError::UnsupportedPath)
    }

    async fn forget(&self, _records: &Records, _uuid: Uuid) -> Result<(), RecordsError> {
        Ok(())
    }
}
