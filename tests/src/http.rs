//! HTTP/1.1 as a seal client speaks it: no header is sent that the test did not ask for, and
//! connections can be held open, cut short or fed with garbage.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::wait::PATIENCE;

/// Where a server is and who we are to it.
#[derive(Clone, Debug)]
pub struct Client {
    /// The server's address.
    pub address: SocketAddr,
    /// How to trust it; `None` for plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
    /// The token that is sent; `None` sends none.
    pub token: Option<String>,
    /// How long a silence of the server is borne.
    pub patience: Duration,
}

impl Client {
    /// Plain HTTP without a token, and patient.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, token: None, patience: PATIENCE }
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same client without a token.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn send(&self, request: Request) -> Result<Answer> {
        self.connect()?.send(request)
    }

    /// PUT with a JSON body, as a seal client sends it: without `Content-Type`.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Request::new("PUT", path).json(body))
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send(Request::new("GET", path))
    }

    /// The verb LIST.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn list(&self, path: &str) -> Result<Answer> {
        self.send(Request::new("LIST", path))
    }

    /// DELETE.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Request::new("DELETE", path))
    }

    /// A connection that stays open for several requests.
    ///
    /// # Errors
    ///
    /// If there is none to be had.
    pub fn connect(&self) -> Result<Connection> {
        let tcp = TcpStream::connect_timeout(&self.address, self.patience)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        tcp.set_read_timeout(Some(self.patience))?;
        tcp.set_write_timeout(Some(self.patience))?;
        tcp.set_nodelay(true)?;
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let name = ServerName::from(self.address.ip());
                let session = ClientConnection::new(Arc::clone(config), name)?;
                Stream::Tls(Box::new(StreamOwned::new(session, tcp)))
            }
        };
        Ok(Connection { stream, token: self.token.clone(), received: Vec::new() })
    }
}

/// A request. It has the headers `Host`, `Content-Length` (if there is a body) and, if the client
/// has one, `X-Vault-Token`; nothing else unless added.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request for `/v1/` and the given path.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self::absolute(method, &format!("/v1/{path}"))
    }

    /// A request for exactly this target.
    #[must_use]
    pub fn absolute(method: &str, target: &str) -> Self {
        Self { method: method.into(), path: target.into(), headers: Vec::new(), body: None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With this body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    /// What is sent for it without a token.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.to_bytes(None)
    }

    fn to_bytes(&self, token: Option<&str>) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: selkie\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(token) = token {
            head += &format!("X-Vault-Token: {token}\r\n");
        }
        if let Some(body) = &self.body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers in their order.
    pub headers: Vec<(String, String)>,
    /// The body, without any transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body's `data`, of a successful answer.
    ///
    /// # Errors
    ///
    /// If the status is not 200.
    pub fn data(&self) -> Result<Value> {
        if self.status != 200 {
            bail!("{} {}", self.status, self.text());
        }
        Ok(self.json()["data"].clone())
    }

    /// A string of the body's `data`, of a successful answer.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn field(&self, name: &str) -> Result<String> {
        let data = self.data()?;
        let field = data[name].as_str().with_context(|| format!("no {name} in {data}"))?;
        Ok(field.to_owned())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// The token that is sent; `None` sends none.
    pub token: Option<String>,
    received: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads its answer; the connection stays open.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    #[expect(clippy::needless_pass_by_value, reason = "a request is sent once")]
    pub fn send(&mut self, request: Request) -> Result<Answer> {
        // A server that refuses a large body answers and closes before it has read all of it.
        let written = self.write(&request.to_bytes(self.token.as_deref()));
        let is_head = request.method == "HEAD";
        self.answer(is_head).with_context(|| match written {
            Ok(()) => "no answer".to_owned(),
            Err(error) => format!("cannot send: {error}"),
        })
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection is closed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// Another handle of a plain connection, to write while this one reads.
    ///
    /// # Errors
    ///
    /// If it is not plain, or the system refuses.
    pub fn writer(&self) -> Result<TcpStream> {
        match &self.stream {
            Stream::Plain(stream) => Ok(stream.try_clone()?),
            Stream::Tls(_) => bail!("TLS has one writer"),
        }
    }

    /// Sends no more: the other end sees the end of what we say, and may still answer.
    ///
    /// # Errors
    ///
    /// If the connection is closed.
    pub fn close_writing(&mut self) -> Result<()> {
        Ok(self.stream.socket().shutdown(Shutdown::Write)?)
    }

    /// What has been received and not been read as an answer, without waiting for more than there
    /// is within `patience`; and whether the server has closed.
    ///
    /// # Errors
    ///
    /// If the socket cannot be set.
    pub fn heard_within(&mut self, patience: Duration) -> Result<(Vec<u8>, bool)> {
        self.stream.socket().set_read_timeout(Some(patience))?;
        let is_closed = loop {
            match self.read_some() {
                Ok(0) => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        self.stream.socket().set_read_timeout(Some(PATIENCE))?;
        Ok((std::mem::take(&mut self.received), is_closed))
    }

    /// Reads until the server closes.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        while self.read_some()? > 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    /// Reads one answer. Interim answers (1xx) are answers.
    ///
    /// # Errors
    ///
    /// If there is no whole answer.
    pub fn answer(&mut self, is_head: bool) -> Result<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if is_head || status < 200 || status == 204 || status == 304 {
            return Ok(answer);
        }
        answer.body = match answer.header("content-length") {
            Some(length) => self.take(length.parse()?)?,
            None if answer.header("transfer-encoding") == Some("chunked") => self.chunks()?,
            None => self.rest()?,
        };
        Ok(answer)
    }

    fn head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(length) = head.parse(&self.received)? {
                let status = head.code.context("no status")?;
                let headers = head
                    .headers
                    .iter()
                    .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned()));
                let headers = headers.collect();
                self.received.drain(..length);
                return Ok((status, headers));
            }
            if self.read_some()? == 0 {
                bail!("closed before an answer");
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.received.len() < length {
            if self.read_some()? == 0 {
                bail!("closed within an answer");
            }
        }
        Ok(self.received.drain(..length).collect())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            body.extend(self.take(size)?);
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                return Ok(String::from_utf8(self.take(end + 1)?)?);
            }
            if self.read_some()? == 0 {
                bail!("closed within a chunk");
            }
        }
    }

    fn read_some(&mut self) -> Result<usize> {
        let mut buffer = [0; 16_384];
        let read = match self.stream.read(&mut buffer) {
            // A server may close TLS without saying so, and a refused body ends in a reset.
            Err(error) if is_end(error.kind()) => 0,
            other => other?,
        };
        self.received.extend(buffer.iter().take(read));
        Ok(read)
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    const fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
