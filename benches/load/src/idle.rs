//! The memory of a server whose connections are idle, by what they have been through.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::Account;
use crate::echo::Echo;
use crate::exchange::Kind;
use crate::{Form, Outcome, Scenario, Server, Traffic};

/// How long a server gets to return to what an idle connection takes.
const RETURN: Duration = Duration::from_secs(1);

/// Connections that have messages under way at a time.
const ACTIVE_AT_ONCE: usize = 64;

/// Connections of a storm, beside those that are idle.
const STORM: usize = 4000;

/// Messages that a connection asks for while it doesn't read. The sockets of both ends have to be
/// so small that the kernel does not hold them all.
const SLOW_MESSAGES: u64 = 3;

pub(crate) fn run(server: Server, connections: usize, scenario: Scenario) -> Outcome<Value> {
    let account = Account::of(server.pid)?;
    // What a server loads with its first connection is not the price of a connection.
    exchange_one(server)?;
    std::thread::sleep(RETURN);
    let base = account.resident()?;
    let mut idle = Echo::open(server, traffic(connections, bytes(scenario)), Form::PLAIN)?;
    let most = match scenario {
        Scenario::Fresh => account.resident()?,
        Scenario::Used | Scenario::Large => {
            use_each(&mut idle, 0..connections)?;
            account.resident()?
        }
        Scenario::Storm => storm(&mut idle, server, connections, account)?,
        Scenario::Slow => be_slow(&mut idle, connections, account)?,
    };
    std::thread::sleep(RETURN);
    let resident = account.resident()?;
    let per_connection = |bytes: u64| (bytes as f64 - base as f64) / connections as f64;
    Ok(json!({
        "connections": connections,
        "bytes_per_connection": per_connection(resident),
        "bytes_per_connection_before": per_connection(most),
        "base_bytes": base,
        "resident_bytes": resident,
    }))
}

fn bytes(scenario: Scenario) -> usize {
    match scenario {
        Scenario::Large => 1024 * 1024,
        _ => 16 * 1024,
    }
}

fn traffic(connections: usize, bytes: usize) -> Traffic {
    Traffic {
        connections,
        in_flight: 1,
        bytes,
        kind: Kind::Binary,
        non_ascii: false,
    }
}

fn exchange_one(server: Server) -> Outcome<()> {
    let mut echo = Echo::open(server, traffic(1, 16 * 1024), Form::PLAIN)?;
    use_each(&mut echo, 0..1)
}

/// Sends a message on each connection and waits until all have come back, some at a time.
fn use_each(echo: &mut Echo, connections: std::ops::Range<usize>) -> Outcome<()> {
    let mut next = connections.start;
    let mut active = 0;
    while next < connections.end || active > 0 {
        while next < connections.end && active < ACTIVE_AT_ONCE {
            echo.send(next, 1)?;
            next += 1;
            active += 1;
        }
        active -= turn(echo)? as usize;
    }
    Ok(())
}

/// Waits for what happens; gives how many messages came back.
fn turn(echo: &mut Echo) -> Outcome<u64> {
    let mut replies = 0;
    let count = echo.clients.wait(5000)?;
    if count == 0 {
        return Err("nothing came back for five seconds".to_owned());
    }
    for number in 0..count {
        let ready = echo.clients.ready(number);
        if ready.writable {
            echo.flush(ready.index)?;
        }
        if ready.readable {
            replies += echo.receive(ready.index)?;
        }
    }
    Ok(replies)
}

/// Others come, each with a message, all at once, and go; gives the memory before they go.
fn storm(idle: &mut Echo, server: Server, connections: usize, account: Account) -> Outcome<u64> {
    idle.clients.add(server.address, STORM)?;
    idle.follow();
    for index in connections..connections + STORM {
        idle.send(index, 1)?;
    }
    let mut missing = STORM as u64;
    while missing > 0 {
        missing -= turn(idle)?;
    }
    let most = account.resident()?;
    idle.clients.all.truncate(connections);
    Ok(most)
}

/// None reads until the server takes no more, then all do; gives the memory before they do.
fn be_slow(idle: &mut Echo, connections: usize, account: Account) -> Outcome<u64> {
    for index in 0..connections {
        idle.clients.watch_input(index, false)?;
        idle.send(index, SLOW_MESSAGES)?;
    }
    let mut used = account.cpu()?;
    loop {
        let count = idle.clients.wait(STUCK_MILLISECONDS)?;
        for number in 0..count {
            let ready = idle.clients.ready(number);
            if ready.readable {
                return Err("a connection ended that was not read".to_owned());
            }
            idle.flush(ready.index)?;
        }
        let before = std::mem::replace(&mut used, account.cpu()?);
        if count == 0 && used - before < STUCK_CPU_NS {
            break;
        }
    }
    let most = account.resident()?;
    for index in 0..connections {
        idle.clients.watch_input(index, true)?;
    }
    let mut missing = SLOW_MESSAGES * connections as u64;
    while missing > 0 {
        missing -= turn(idle)?;
    }
    Ok(most)
}

/// A server that takes nothing for so long, and uses a hundredth of its core at most, waits until
/// it is read from.
const STUCK_MILLISECONDS: u16 = 300;
const STUCK_CPU_NS: u64 = STUCK_MILLISECONDS as u64 * 1_000_000 / 100;
