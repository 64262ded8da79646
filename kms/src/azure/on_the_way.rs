//! What a call that brought no answer means.

use super::{Diagnosis, Hop, Outcome};
use crate::http::{HttpError, HttpHop, HttpReason, tls_word};

/// The diagnosis of a call for `exchange` that failed over HTTP.
///
/// The endpoint of managed identity is a hop of its own from end to end: there is nothing between
/// it and us.
pub(crate) fn on_the_way(error: &HttpError, exchange: Hop) -> Diagnosis {
    let hop = match error.hop {
        _ if exchange == Hop::ManagedIdentity => exchange,
        HttpHop::Dns => Hop::Dns,
        HttpHop::Tcp => Hop::Tcp,
        HttpHop::Proxy => Hop::Proxy,
        HttpHop::Tls => Hop::Tls,
        HttpHop::Request | HttpHop::Exchange => exchange,
    };
    let (status, code) = match &error.reason {
        HttpReason::ProxyStatus(status) => (Some(*status), None),
        HttpReason::Tls(reason) => (None, tls_word(reason)),
        _ => (None, None),
    };
    let (outcome, host) = (outcome(&error.reason), error.host.clone());
    Diagnosis { hop, outcome, host, status, code, request_id: None }
}

const fn outcome(reason: &HttpReason) -> Outcome {
    match reason {
        HttpReason::TimedOut => Outcome::TimedOut,
        HttpReason::NameNotResolved(_) => Outcome::NameNotResolved,
        HttpReason::Io(_) | HttpReason::Cut(_) => Outcome::NotConnected,
        HttpReason::Tls(_) => Outcome::TlsFailed,
        HttpReason::ProxyStatus(_) => Outcome::ProxyRefused,
        HttpReason::NotHttp(_)
        | HttpReason::TooLarge
        // Nobody has rejected what was never sent: it says nothing about a ciphertext in it.
        | HttpReason::OtherScheme
        | HttpReason::UnfitUrl
        | HttpReason::UnfitHeader
        | HttpReason::StreamedBody => Outcome::AnswerWrong,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{AlertDescription, CertificateError, Error as TlsError};

    use super::*;

    fn seen(hop: HttpHop, reason: HttpReason, exchange: Hop) -> (Hop, Outcome, Option<String>) {
        let error = HttpError { hop, host: "kv.test".to_owned(), reason };
        let diagnosis = on_the_way(&error, exchange);
        assert_eq!(diagnosis.host, "kv.test");
        (diagnosis.hop, diagnosis.outcome, diagnosis.code)
    }

    #[test]
    fn steps_before_the_exchange_are_hops_of_their_own_but_for_managed_identity() {
        let gone = || HttpReason::Io(io::ErrorKind::ConnectionReset.into());
        for (step, hop) in [
            (HttpHop::Tcp, Hop::Tcp),
            (HttpHop::Tls, Hop::Tls),
            (HttpHop::Proxy, Hop::Proxy),
            (HttpHop::Exchange, Hop::Unwrap),
        ] {
            assert_eq!(seen(step, gone(), Hop::Unwrap), (hop, Outcome::NotConnected, None));
            let managed = seen(step, gone(), Hop::ManagedIdentity);
            assert_eq!(managed, (Hop::ManagedIdentity, Outcome::NotConnected, None));
        }
        let unknown = HttpReason::NameNotResolved(io::ErrorKind::NotFound.into());
        assert_eq!(
            seen(HttpHop::Dns, unknown, Hop::Get),
            (Hop::Dns, Outcome::NameNotResolved, None)
        );
    }

    #[test]
    fn request_that_was_never_sent_is_no_rejected_one() {
        for reason in [
            HttpReason::OtherScheme,
            HttpReason::UnfitUrl,
            HttpReason::UnfitHeader,
            HttpReason::StreamedBody,
        ] {
            let expected = (Hop::Unwrap, Outcome::AnswerWrong, None);
            assert_eq!(seen(HttpHop::Request, reason, Hop::Unwrap), expected);
        }
    }

    #[test]
    fn reason_of_tls_is_told_in_one_word() {
        let expired = CertificateError::ExpiredContext {
            time: rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(9)),
            not_after: rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::ZERO),
        };
        for (reason, word) in [
            (CertificateError::UnknownIssuer.into(), "UnknownIssuer"),
            (expired.into(), "Expired"),
            (TlsError::AlertReceived(AlertDescription::HandshakeFailure), "HandshakeFailure"),
            (TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "NotTls"),
        ] {
            let expected = (Hop::Tls, Outcome::TlsFailed, Some(word.to_owned()));
            assert_eq!(seen(HttpHop::Tls, HttpReason::Tls(reason), Hop::Entra), expected);
        }
    }
}
