//! The library's tests: over streams in memory, where each call is counted and time is paused, and
//! over real sockets, where nothing sleeps.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod accept;
mod bounds;

mod cancellation;
mod closing;
mod connect;
mod endings;
mod endpoint;
mod fairness;
mod frame;
mod handler;
mod handles;
mod large;
mod memory;
mod plain;
mod promises;
mod random;
mod running;
mod server;
mod sharing;
mod stream;
mod stress;
mod unix;
mod waiting;
mod wire;
mod writing;
