//! The governor's promises, in virtual time.

mod callers;
mod outage;
mod retries;
mod sharing;
mod simulation;
mod stress;
mod throttling;
mod world;
