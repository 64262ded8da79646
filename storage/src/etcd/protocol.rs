//! etcd's protocol, as `build.rs` compiles it from `proto/etcd.proto`.

#![expect(
    clippy::allow_attributes_without_reason,
    clippy::enum_variant_names,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]

tonic::include_proto!("etcdserverpb");
