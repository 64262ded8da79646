//! An outside whose every answer the test decides, by URL.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use selkie_kms::http::{HttpError, HttpHop, HttpReason};

use crate::auth::jwt::web::{Outside, OutsideError, Web};

/// What one URL answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Body(u16, String),
    Away,
    Never,
}

/// A request that came: the URL, `authorization`, and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) url: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    answers: BTreeMap<String, Answer>,
    asked: Vec<Fetched>,
    trusted: Vec<String>,
}

impl World {
    pub(crate) fn answers(&self, url: &str, body: impl Into<String>) {
        self.set(url, Answer::Body(200, body.into()));
    }

    pub(crate) fn set(&self, url: &str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(url.into(), answer);
    }

    pub(crate) fn asked(&self) -> Vec<Fetched> {
        self.0.lock().unwrap().asked.clone()
    }

    /// How often this URL was asked.
    pub(crate) fn count(&self, url: &str) -> usize {
        self.asked().iter().filter(|asked| asked.url == url).count()
    }

    /// The CA certificates that were to be trusted, in order.
    pub(crate) fn trusted(&self) -> Vec<String> {
        self.0.lock().unwrap().trusted.clone()
    }
}

impl Outside for World {
    fn trusting(&self, ca_pem: &str) -> Result<Arc<dyn Web>, OutsideError> {
        self.0.lock().unwrap().trusted.push(ca_pem.into());
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Web for World {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().to_string();
        let header = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let authorization = header("authorization").to_owned();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let answer = {
            let mut inner = self.0.lock().unwrap();
            inner.asked.push(Fetched { url: url.clone(), authorization, body });
            inner.answers.get(&url).cloned().unwrap_or(Answer::Body(404, String::new()))
        };
        match answer {
            Answer::Body(status, body) => {
                let mut answer = Response::new(Bytes::from(body));
                *answer.status_mut() = status.try_into().unwrap();
                Ok(answer)
            }
            Answer::Away => Err(HttpError {
                hop: HttpHop::Tcp,
                host: "away.example".into(),
                reason: HttpReason::TimedOut,
            }),
            Answer::Never => std::future::pending().await,
        }
    }
}
