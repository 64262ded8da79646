//! The one way to a token endpoint, for requests that hold a secret.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use super::token::Token;
use super::{IdentityError, WallClock};
use crate::azure::Hop;
use crate::http::HttpClient;

/// Brings a request to a token endpoint and its answer back.
pub(super) struct Transport {
    pub(super) client: Arc<HttpClient>,
    pub(super) clock: WallClock,
}

impl Transport {
    /// The answer of `hop` if it is none of a refusal; of that `refusal` says what it means.
    pub(super) async fn answer(
        &self,
        hop: Hop,
        request: Request<Bytes>,
        refusal: impl Fn(&Response<Bytes>) -> IdentityError,
    ) -> Result<Response<Bytes>, IdentityError> {
        let sent = self.client.send(request).await;
        let answer = sent.map_err(|error| IdentityError::transport(hop, error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(&answer)) }
    }

    /// The token that `hop` on `host` answers with.
    pub(super) async fn token(
        &self,
        hop: Hop,
        host: &str,
        request: Request<Bytes>,
        refusal: impl Fn(&Response<Bytes>) -> IdentityError,
    ) -> Result<Token, IdentityError> {
        let answer = self.answer(hop, request, refusal).await?;
        let token = Token::read(answer.body(), Instant::now(), (self.clock)());
        let status = answer.status().as_u16();
        token.map_err(|error| IdentityError::tokenless(hop, host, status, error))
    }
}
