//! The harness of the end-to-end tests: it starts the released `selkie` and the real peers as
//! processes, speaks plain HTTP/1.1 to them byte by byte where that matters, and reads what is left
//! in a process's memory. It links nothing of Selkie: what it sees is what any client sees.

mod balancer;
mod certificate;
mod emulator;
mod etcd;
mod evidence;
mod http;
mod kubernetes;
mod peer;
mod port;
mod process;
mod replicas;
mod resources;
mod scan;
mod selkie;
mod site;
mod soft_hsm;
mod upstream;
mod vault;
mod wait;

pub use balancer::Balancer;
pub use certificate::{Authority, Certificate};
pub use emulator::{Aim, Emulator, emulator_binary};
pub use etcd::{Etcd, EtcdCluster};
pub use evidence::evidence;
pub use http::{Answer, Client, Connection, Request};
pub use kubernetes::{ISSUER, Kubernetes};
pub use peer::{Peer, python, skip};
pub use port::free_port;
pub use process::{Process, Signal};
pub use replicas::Replicas;
pub use resources::{Resident, open_files, raise_open_files};
pub use scan::{Findings, Needles};
pub use selkie::{Selkie, Target, binary};
pub use site::{Site, token};
pub use soft_hsm::{SoftHsm, hsm_child, kill_hsm_child, launch_process};
pub use upstream::UpstreamVault;
pub use vault::{SealArguments, VaultCore, key_ids};
pub use wait::until;
