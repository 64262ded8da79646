//! Tests of whole servers, and nothing else.
//!
//! `seeds`: several replicas of the real server on a simulated store, KMSs, clocks and randomness,
//! all of it from one seed; what must always hold is checked after every step. A failing seed is
//! replayed with `SELKIE_SEED=… cargo test -p selkie-simulation`. `against_model`: whole histories of
//! one server against a model of a few maps.

/// What the server for musl stands on; glibc's own took a tenth of the time of a seed.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(test)]
mod against_model;
#[cfg(test)]
mod ask;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod found;
#[cfg(test)]
mod history;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod kms;
#[cfg(test)]
mod life;
#[cfg(test)]
mod model;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod rsa;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod server;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod world;
