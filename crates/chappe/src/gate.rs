//! Who may have a connection: caps in all and per address.
//!
//! A [`Slot`] is held for as long as a stream is; dropping it makes room for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts the connections of a server, over all of its threads.
#[derive(Debug)]
pub(crate) struct Gate {
    open: Mutex<Open>,
    /// Told whenever a slot is free again.
    pub(crate) freed: Notify,
}

#[derive(Debug)]
struct Open {
    connections_max: usize,
    /// Whether somebody chose it; else it is what the system allows.
    is_chosen: bool,
    /// Per address that is not loopback; `None`: no bound.
    per_address_max: Option<usize>,
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    /// Lets in as many as there are files left, until told otherwise.
    pub(crate) fn new(files_left: usize) -> Self {
        let open = Open {
            connections_max: files_left.max(1),
            is_chosen: false,
            per_address_max: None,
            connections: 0,
            by_address: HashMap::new(),
        };
        Self {
            open: Mutex::new(open),
            freed: Notify::new(),
        }
    }

    /// Other files were opened meanwhile: what is left of them is the cap, where none was chosen.
    pub(crate) fn lower(&self, files_left: usize) {
        let mut open = self.lock();
        if !open.is_chosen {
            // Those who are in have their files.
            let possible = files_left.saturating_add(open.connections).max(1);
            open.connections_max = open.connections_max.min(possible);
        }
    }

    pub(crate) fn set_connections_max(&self, connections: usize) {
        let mut open = self.lock();
        (open.connections_max, open.is_chosen) = (connections, true);
    }

    /// Counts from now on: call it before anybody is let in.
    pub(crate) fn set_per_address_max(&self, connections: usize) {
        self.lock().per_address_max = Some(connections);
    }

    /// How many are let in.
    pub(crate) fn connections_max(&self) -> usize {
        self.lock().connections_max
    }

    /// Slots that are taken.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Takes a slot for a connection from this address, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = address.to_canonical();
        let mut open = self.lock();
        let counted = open.per_address_max.is_some() && !address.is_loopback();
        if open.connections >= open.connections_max {
            return None;
        }
        if counted {
            let from_there = open.by_address.get(&address).copied().unwrap_or(0);
            if open.per_address_max.is_some_and(|max| from_there >= max) {
                return None;
            }
            open.by_address.insert(address, from_there + 1);
        }
        open.connections += 1;
        Some(Slot {
            gate: self.clone(),
            address: counted.then_some(address),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.gate.lock();
        open.connections -= 1;
        if let Some(address) = self.address
            && let Some(from_there) = open.by_address.get_mut(&address)
        {
            *from_there -= 1;
            if *from_there == 0 {
                open.by_address.remove(&address);
            }
        }
        drop(open);
        self.gate.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections_max: usize, per_address_max: usize) -> Arc<Gate> {
        let gate = Gate::new(1_000);
        gate.set_connections_max(connections_max);
        gate.set_per_address_max(per_address_max);
        Arc::new(gate)
    }

    #[test]
    fn gate_keeps_both_caps_and_gives_slots_back() {
        let gate = gate(3, 2);
        let (near, far): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = gate.enter(near).expect("nobody is there");
        let _second = gate.enter(near).expect("two an address");
        assert!(gate.enter(near).is_none(), "a third from one address");
        let _third = gate.enter(far).expect("another address");
        assert!(gate.enter(far).is_none(), "a fourth in all");
        drop(first);
        assert!(gate.enter(near).is_some(), "a slot is free again");
        assert_eq!(
            gate.lock().by_address.len(),
            2,
            "addresses with connections are kept"
        );
    }

    #[test]
    fn gate_follows_the_files_that_are_left_until_a_cap_is_chosen() {
        let gate = Arc::new(Gate::new(10));
        let _slots: Vec<_> = (0..2).map(|_| gate.enter([192, 0, 2, 1].into())).collect();
        gate.lower(5);
        assert_eq!(gate.connections_max(), 7, "two have their files already");
        gate.lower(6);
        assert_eq!(
            gate.connections_max(),
            7,
            "what was taken is not given back"
        );
        gate.lower(0);
        assert_eq!(gate.connections_max(), 2);
        gate.set_connections_max(100);
        gate.lower(0);
        assert_eq!(gate.connections_max(), 100, "somebody knows better");
        assert_eq!(
            Gate::new(0).connections_max(),
            1,
            "a server that takes none is no server"
        );
    }

    #[test]
    fn gate_does_not_count_loopback_by_address() {
        let gate = gate(10, 1);
        let loopback: [IpAddr; 3] = [
            "127.0.0.1".parse().unwrap(),
            "::1".parse().unwrap(),
            "::ffff:127.0.0.1".parse().unwrap(),
        ];
        let slots: Vec<_> = loopback
            .iter()
            .chain(&loopback)
            .map(|address| gate.enter(*address))
            .collect();
        assert!(slots.iter().all(Option::is_some));
    }
}
