//! Chappe against real peers.
