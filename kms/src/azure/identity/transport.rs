use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use super::failure::at;
use super::token::Token;
use super::{IdentityError, WallClock};
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::http::HttpClient;

/// Brings a request to a token endpoint and a token back.
pub(super) struct Transport {
    pub(super) client: Arc<HttpClient>,
    pub(super) clock: WallClock,
}

impl Transport {
    /// The token that `hop` on `host` answers with; of a refusal `refusal` says what it means.
    pub(super) async fn token(
        &self,
        (hop, host): (Hop, &str),
        request: Request<Bytes>,
        refusal: impl Fn(&Response<Bytes>) -> IdentityError,
    ) -> Result<Token, IdentityError> {
        let sent = self.client.send(request).await;
        let answer = sent.map_err(|error| IdentityError::transport(hop, error))?;
        if !answer.status().is_success() {
            return Err(refusal(&answer));
        }
        Token::read(answer.body(), Instant::now(), (self.clock)()).map_err(|error| {
            let status = Some(answer.status().as_u16());
            let diagnosis = Diagnosis { status, ..at(hop, Outcome::AnswerWrong, host) };
            IdentityError::new(diagnosis, Some(Arc::new(error)))
        })
    }
}
