//! A record that goes with the process that put it: it is under one of etcd's leases. How long that
//! lasts is measured by etcd's leader alone, so clocks may differ.

use std::future::{Future, ready};
use std::time::Duration;

use futures_util::stream::once;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::cluster::Call;
use super::protocol::lease_client::LeaseClient;
use super::protocol::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    RangeRequest,
};
use super::txn::leased;
use super::{EtcdStore, commit_error, unavailable};
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::record::RecordValue;

/// A lease, and the record that goes with it.
pub(super) struct Lease {
    id: i64,
    record: RecordKey,
}

impl Call for LeaseGrantRequest {
    type Answer = LeaseGrantResponse;
    async fn send(
        request: Request<Self>,
        channel: Channel,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        LeaseClient::new(channel).lease_grant(request).await
    }
}

impl Call for LeaseKeepAliveRequest {
    type Answer = LeaseKeepAliveResponse;
    fn send(
        request: Request<Self>,
        channel: Channel,
    ) -> impl Future<Output = Result<Response<LeaseKeepAliveResponse>, Status>> + Send {
        let request = request.map(|renewal| once(ready(renewal)));
        async move {
            let answers = LeaseClient::new(channel).lease_keep_alive(request).await?;
            let answer = answers.into_inner().message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unavailable("no answer to a renewal"))
        }
    }
}

impl EtcdStore {
    /// Renews the lease of this process and puts its record again if somebody has deleted that, or puts
    /// `value` below `under` under a new one.
    pub(super) async fn renew_or_grant(
        &self,
        under: &RecordKey,
        value: &RecordValue,
        ttl: Duration,
    ) -> Result<RecordKey, StoreError> {
        let mut held = self.lease.lock().await;
        if let Some(Lease { id, record }) = &*held {
            let renewal = LeaseKeepAliveRequest { id: *id };
            let renewed = self.cluster.read(&renewal).await.map_err(unavailable)?;
            // Of one that has ended, and its record with it, nothing is left.
            if renewed.ttl > 0 {
                if !self.has_key(record).await? {
                    self.put_leased(record, value, *id).await?;
                }
                return Ok(record.clone());
            }
        }
        *held = None;
        let grant = LeaseGrantRequest { ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX) };
        // Not again when the outcome is open: each one that etcd took stays for its time, and a cluster
        // without space would go through its log to refuse each.
        let id = self.cluster.write(&grant).await.map_err(commit_error)?.id;
        // etcd draws it so that no other lease in the cluster has it.
        let record = under.child(&format!("{id:016x}"));
        let record = record.map_err(|error| StoreError::Corrupt {
            key: Some(under.clone()),
            source: Box::new(error),
        })?;
        self.put_leased(&record, value, id).await?;
        *held = Some(Lease { id, record: record.clone() });
        Ok(record)
    }

    /// Asked before each put, as etcd's members write down every transaction that may put something.
    async fn has_key(&self, record: &RecordKey) -> Result<bool, StoreError> {
        let key = self.prefix.place(record);
        let read = RangeRequest { key, keys_only: true, ..RangeRequest::default() };
        let answer = self.cluster.read(&read).await.map_err(unavailable)?;
        Ok(!answer.kvs.is_empty())
    }

    /// Puts the record, unless it is there.
    async fn put_leased(
        &self,
        record: &RecordKey,
        value: &RecordValue,
        id: i64,
    ) -> Result<(), StoreError> {
        let put = leased(&self.prefix, record, value, id);
        self.cluster.write(&put).await.map_err(commit_error)?;
        Ok(())
    }
}
