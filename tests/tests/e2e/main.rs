//! End to end: the released program, as clients, operators and attackers meet it, against what
//! Vault 1.14 answers (`transit-api.md`) and against the real peers.

mod answer;
mod audit_day;
mod azure;
mod break_glass;
mod certificates;
mod clients;
mod config;
mod dev;
mod documents;
mod etcd;
mod faults;
mod jwcrypto;
mod limits;
mod listener;
mod logins;
mod losses;
mod memory;
mod memory_tokens;
mod migrations;
mod operating;
mod pkcs11;
mod shared_nothing;
mod shared_store;
mod sled;
mod takeover;
mod tls;
mod trio;
mod unsealing;
mod upstream;
mod vault;
mod vectors;
mod wire;
mod wrappers;
