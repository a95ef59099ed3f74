//! Opening handshakes: what each costs the server.

use serde_json::{Value, json};

use crate::account::{Account, own_cpu};
use crate::client::Clients;
use crate::clock::Clock;
use crate::{Outcome, Server};

/// Handshakes before those that are measured.
const WARM_UP: usize = 200;

pub(crate) fn run(server: Server, count: usize) -> Outcome<Value> {
    let account = Account::of(server.pid)?;
    drop(Clients::open(server.address, WARM_UP)?);
    let clock = Clock::start();
    let (cpu, own) = (account.cpu()?, own_cpu());
    let clients = Clients::open(server.address, count)?;
    let (wall, cpu, own) = (clock.now(), account.cpu()? - cpu, own_cpu() - own);
    drop(clients);
    Ok(json!({
        "handshakes": count,
        "seconds": wall as f64 / 1e9,
        "server_cpu_ns": cpu,
        "generator_cpu_ns": own,
        "generator_busy": own as f64 / wall as f64,
    }))
}
