//! Compiles etcd's protocol; `protox` is a protobuf compiler in Rust, so no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        // These hold a password and a token.
        .skip_debug(["etcdserverpb.AuthenticateRequest", "etcdserverpb.AuthenticateResponse"])
        .compile_fds(descriptors)?;
    Ok(())
}
