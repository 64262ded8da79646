//! What a Vault's seal client sends, over plain HTTP.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A client of one key on one server.
#[derive(Clone, Debug)]
pub(crate) struct SealClient {
    server: SocketAddr,
    token: String,
    key: String,
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

impl SealClient {
    pub(crate) fn new(server: SocketAddr, token: &str, key: &str) -> Self {
        Self { server, token: token.to_owned(), key: key.to_owned() }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(crate) async fn ask(
        &self,
        connection: &mut Connection,
        operation: &str,
        body: Value,
    ) -> Result<(StatusCode, Bytes)> {
        let request = Request::put(format!("/v1/transit/{operation}/{}", self.key))
            .header(header::HOST, self.server.to_string())
            .header("x-vault-token", &self.token)
            .body(Full::new(Bytes::from(body.to_string())))?;
        connection.ready().await?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
