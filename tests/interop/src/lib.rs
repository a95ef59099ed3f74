//! Chappe against real peers: what the tests share.
//!
//! A [`Peer`] is an implementation that is not ours; a [`Process`] is one that runs, or our own
//! command. The tests are in `tests/it`, the peers' scripts in `peers`; the browser's test is a
//! program of its own, in `browser`. The client that Autobahn judges is `autobahn-client`.

mod peer;
mod process;

pub use peer::{Peer, PeerServer};
pub use process::{Finished, Process, chappe, within};
