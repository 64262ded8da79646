//! A commit as one of etcd's transactions.

use super::frame::frame;
use super::place::{Prefix, number, revision};
use super::protocol::compare::{CompareResult, CompareTarget, TargetUnion};
use super::protocol::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    TxnResponse, request_op, response_op,
};
use crate::commit::{Guard, Write};
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::record::{RecordValue, Revision};

/// etcd's number for none.
const NO_LEASE: i64 = 0;

/// What a transaction came to.
#[derive(Debug)]
pub(super) enum Outcome {
    Committed(Revision),
    GuardFailed(RecordKey),
    Malformed,
}

/// The transaction that applies `writes` if `guards` hold, and else reads what they speak of.
pub(super) fn transaction(prefix: &Prefix, guards: &[Guard], writes: &[Write]) -> TxnRequest {
    TxnRequest {
        compare: guards.iter().map(|guard| compare(prefix, guard)).collect(),
        success: writes.iter().map(|write| operation(prefix, write)).collect(),
        failure: guards.iter().map(|guard| look(prefix, guard)).collect(),
    }
}

/// The transaction that puts one record where there is none, which goes when `lease` ends.
pub(super) fn leased(
    prefix: &Prefix,
    key: &RecordKey,
    value: &RecordValue,
    lease: i64,
) -> TxnRequest {
    TxnRequest {
        compare: vec![compare(prefix, &Guard::Absent(key.clone()))],
        success: vec![put(prefix, key, value, lease)],
        ..TxnRequest::default()
    }
}

/// What `answer` to the transaction of `guards` says.
pub(super) fn outcome(guards: &[Guard], answer: &TxnResponse) -> Result<Outcome, StoreError> {
    if answer.succeeded {
        return match &answer.header {
            Some(header) => Ok(Outcome::Committed(revision(header.revision)?)),
            None => Ok(Outcome::Malformed),
        };
    }
    if guards.len() != answer.responses.len() {
        return Ok(Outcome::Malformed);
    }
    for (guard, seen) in guards.iter().zip(&answer.responses) {
        if !guard.holds(seen_revision(seen)?) {
            return Ok(Outcome::GuardFailed(guard.key().clone()));
        }
    }
    Ok(Outcome::Malformed)
}

fn compare(prefix: &Prefix, guard: &Guard) -> Compare {
    // No record ever stands at -1: this compare never holds.
    const NEVER: i64 = -1;
    let at = match guard {
        // etcd's revision of a record that is absent.
        Guard::Absent(_) => 0,
        Guard::At(_, Revision::ORIGIN) => NEVER,
        Guard::At(_, revision) => number(*revision).unwrap_or(NEVER),
    };
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: prefix.place(guard.key()),
        target_union: Some(TargetUnion::ModRevision(at)),
    }
}

fn operation(prefix: &Prefix, write: &Write) -> RequestOp {
    match write {
        Write::Put(record, value) => put(prefix, record, value, NO_LEASE),
        Write::Delete(record) => {
            let request = DeleteRangeRequest { key: prefix.place(record) };
            RequestOp { request: Some(request_op::Request::RequestDeleteRange(request)) }
        }
    }
}

fn put(prefix: &Prefix, record: &RecordKey, value: &RecordValue, lease: i64) -> RequestOp {
    let request = PutRequest { key: prefix.place(record), value: frame(record, value), lease };
    RequestOp { request: Some(request_op::Request::RequestPut(request)) }
}

fn look(prefix: &Prefix, guard: &Guard) -> RequestOp {
    let key = prefix.place(guard.key());
    let read = RangeRequest { key, keys_only: true, ..RangeRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestRange(read)) }
}

fn seen_revision(seen: &ResponseOp) -> Result<Option<Revision>, StoreError> {
    match &seen.response {
        Some(response_op::Response::ResponseRange(range)) => {
            range.kvs.first().map(|pair| revision(pair.mod_revision)).transpose()
        }
        _ => Ok(None),
    }
}
