//! From sockets to answers, faults included.

mod body;
mod effects;
pub(crate) mod listener;
mod pipeline;
pub(crate) mod switch;
mod target;
mod wire;
