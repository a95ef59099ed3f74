//! What the floors of the benchmark share: frames, the handshake, and what a connection does with
//! what it reads, whoever waits for it.

pub mod connection;
pub mod frame;
pub mod handshake;
