//! Chappe with the implementations of others, and through its command.
//!
//! `cargo xtask setup` installs what they need; what is missing is a failure.

mod client;
mod closing;
mod command;
mod payload;
mod server;
