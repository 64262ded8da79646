//! Why an alert did not arrive; its receiver's answer is not repeated.

use selkie_kms::http::{HttpError, HttpHop, HttpReason};

/// Why a post did not arrive. Nothing of the answer but its status is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// The receiver leads elsewhere, where nobody said that alerts may go.
    #[error("the receiver answers {status}, a redirect, which is not followed")]
    Redirected { status: u16 },
    /// The receiver does not take it.
    #[error("the receiver answers {status}")]
    Refused { status: u16 },
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The body cannot be written, which does not happen.
    #[error("the body cannot be written")]
    Body(#[source] serde_json::Error),
}

impl PostError {
    /// The label of its count.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::Redirected { .. } => "redirected",
            Self::Refused { .. } => "refused",
            Self::Body(_) => "unfit",
            Self::Http(HttpError { reason: HttpReason::TimedOut, .. }) => "timed_out",
            Self::Http(HttpError { hop, .. }) => match hop {
                HttpHop::Request => "unfit",
                HttpHop::Dns => "dns",
                HttpHop::Tcp => "connection",
                HttpHop::Proxy => "proxy",
                HttpHop::Tls => "tls",
                HttpHop::Exchange => "cut",
            },
        }
    }

    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Redirected { .. } => "set \"url\" to where it leads, if that is meant",
            Self::Refused { status: 401 | 403 } => "check \"headers\" and \"hmac_key\"",
            Self::Refused { status: 404 | 410 } => "check the path of \"url\"",
            Self::Refused { .. } | Self::Body(_) => "see the log of the receiver",
            Self::Http(HttpError { hop, .. }) => match hop {
                HttpHop::Request => "check \"url\"",
                HttpHop::Dns => "check the host in \"url\", and the name servers",
                HttpHop::Tcp => "check \"url\", firewalls, and whether a \"proxy\" is needed",
                HttpHop::Proxy => "check \"proxy\" or HTTPS_PROXY",
                HttpHop::Tls => "set \"ca_file\" to who issued the receiver's certificate",
                HttpHop::Exchange => "see whether the receiver runs; \"timeout\" may be raised",
            },
        }
    }
}
