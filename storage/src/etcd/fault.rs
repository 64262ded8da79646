//! What a cluster did instead of what it was asked, and what that says about the request.

use std::error::Error;

use tonic::{Code, ConnectError, Status};

/// What an etcd cluster did instead of what it was asked: the source of a
/// [`StoreError`](crate::StoreError).
#[derive(Debug, thiserror::Error)]
pub enum EtcdFault {
    /// No connection came about.
    #[error("{endpoint} cannot be connected to")]
    Connect {
        /// The member.
        endpoint: String,
        /// What the connection met.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There was no answer within the request timeout.
    #[error("{endpoint} gave no answer in time")]
    Silent {
        /// The member.
        endpoint: String,
    },
    /// etcd does not take the user name with the password.
    #[error("{endpoint} refuses the user name or password")]
    Credentials {
        /// The member.
        endpoint: String,
    },
    /// The user may not read or write below the prefix; a role may have been revoked.
    #[error("{endpoint} denies this user permission for the prefix")]
    Permission {
        /// The member.
        endpoint: String,
    },
    /// There are credentials, and the cluster asks nobody for any: everyone may write there.
    #[error("{endpoint} has authentication switched off, though credentials are configured")]
    AuthenticationOff {
        /// The member.
        endpoint: String,
    },
    /// The cluster's database has reached its quota. It may have taken the write that reached it.
    #[error("{endpoint} has used up its space")]
    NoSpace {
        /// The member.
        endpoint: String,
    },
    /// Anything else that etcd or the connection to it said.
    #[error("{endpoint} failed with {code:?}: {message}")]
    Answer {
        /// The member.
        endpoint: String,
        /// gRPC's code.
        code: Code,
        /// What was said; etcd's messages hold nothing secret.
        message: String,
    },
    /// An answer does not fit its request.
    #[error("{endpoint} gave an answer that does not fit")]
    Malformed {
        /// The member.
        endpoint: String,
    },
}

/// What is true of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It had none, and another member may do better.
    None,
    /// It had none, and all members would say the same.
    Refused,
    /// It may have been done, or may still be.
    Open,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) why: EtcdFault,
    pub(super) effect: Effect,
}

impl Fault {
    pub(super) fn silent(endpoint: &str) -> Self {
        let why = EtcdFault::Silent { endpoint: endpoint.to_owned() };
        Self { why, effect: Effect::Open }
    }

    pub(super) fn malformed(endpoint: &str) -> Self {
        let why = EtcdFault::Malformed { endpoint: endpoint.to_owned() };
        Self { why, effect: Effect::Open }
    }

    /// What `status` means, when `endpoint` answered it.
    pub(super) fn of(status: &Status, endpoint: &str) -> Self {
        let endpoint = endpoint.to_owned();
        let message = status.message();
        let (why, effect) = match status.code() {
            _ if is_connect_error(status) => {
                let source = status.clone().into();
                (EtcdFault::Connect { endpoint, source }, Effect::None)
            }
            Code::PermissionDenied => (EtcdFault::Permission { endpoint }, Effect::Refused),
            Code::InvalidArgument if message.contains("authentication failed") => {
                (EtcdFault::Credentials { endpoint }, Effect::Refused)
            }
            Code::FailedPrecondition if message.contains("authentication is not enabled") => {
                (EtcdFault::AuthenticationOff { endpoint }, Effect::Refused)
            }
            // etcd 3.4 applies the first write over the quota and answers this nevertheless.
            Code::ResourceExhausted if message.contains("space exceeded") => {
                (EtcdFault::NoSpace { endpoint }, Effect::Open)
            }
            code => {
                let effect = effect(code, message);
                (EtcdFault::Answer { endpoint, code, message: message.to_owned() }, effect)
            }
        };
        Self { why, effect }
    }
}

/// What etcd's answer says about the request; whatever is not known to be harmless is open.
fn effect(code: Code, message: &str) -> Effect {
    const BEFORE_PROPOSING: [&str; 4] = [
        "etcdserver: no leader",
        "etcdserver: rpc not supported for learner",
        "etcdserver: not capable",
        "etcdserver: too many requests",
    ];
    match code {
        _ if BEFORE_PROPOSING.contains(&message) => Effect::None,
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::OutOfRange => Effect::Refused,
        _ => Effect::Open,
    }
}

/// Whether the token is no longer good, for a request that therefore had no effect.
pub(super) fn is_token_refused(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
        || status.message().contains("invalid auth token")
        || status.message().contains("revision of auth store is old")
}

fn is_connect_error(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect_of(code: Code, message: &str) -> Effect {
        Fault::of(&Status::new(code, message), "m").effect
    }

    #[test]
    fn only_what_was_never_proposed_may_be_tried_elsewhere() {
        assert_eq!(effect_of(Code::Unavailable, "etcdserver: no leader"), Effect::None);
        let too_many = effect_of(Code::ResourceExhausted, "etcdserver: too many requests");
        assert_eq!(too_many, Effect::None);
    }

    #[test]
    fn lost_answers_and_leader_changes_leave_the_outcome_open() {
        for (code, message) in [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "connection reset"),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (Code::Unknown, "transport error"),
            (Code::Cancelled, ""),
            (Code::Internal, ""),
        ] {
            assert_eq!(effect_of(code, message), Effect::Open, "{message}");
        }
    }

    #[test]
    fn refusals_are_named() {
        let why = |code, message| Fault::of(&Status::new(code, message), "m").why;
        let denied = why(Code::PermissionDenied, "etcdserver: permission denied");
        assert!(matches!(denied, EtcdFault::Permission { .. }));
        let wrong = "etcdserver: authentication failed, invalid user ID or password";
        assert!(matches!(why(Code::InvalidArgument, wrong), EtcdFault::Credentials { .. }));
        let off = "etcdserver: authentication is not enabled";
        assert!(matches!(why(Code::FailedPrecondition, off), EtcdFault::AuthenticationOff { .. }));
    }
}
