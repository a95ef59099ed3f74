//! Who may have a connection: caps in all and per address, and a list of those who have one.
//!
//! A [`Slot`] is held for as long as a stream is; dropping it makes room for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts the connections of a server, over all of its threads.
#[derive(Debug)]
pub(crate) struct Gate {
    connections_max: usize,
    /// Per address that is not loopback; `None`: no bound.
    per_address_max: Option<usize>,
    open: Mutex<Open>,
    /// Told whenever a slot is free again.
    pub(crate) freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Gate {
    pub(crate) fn new(connections_max: usize, per_address_max: Option<usize>) -> Self {
        Self {
            connections_max,
            per_address_max,
            open: Mutex::default(),
            freed: Notify::new(),
        }
    }

    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max
    }

    pub(crate) fn per_address_max(&self) -> Option<usize> {
        self.per_address_max
    }

    /// Slots that are taken.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Takes a slot for a connection from this address, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = address.to_canonical();
        let counted = self.per_address_max.is_some() && !address.is_loopback();
        let mut open = self.lock();
        if open.connections >= self.connections_max {
            return None;
        }
        if counted {
            let from_there = open.by_address.entry(address).or_default();
            if self.per_address_max.is_some_and(|max| *from_there >= max) {
                return None;
            }
            *from_there += 1;
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

    #[test]
    fn gate_keeps_both_caps_and_gives_slots_back() {
        let gate = Arc::new(Gate::new(3, Some(2)));
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
    fn gate_does_not_count_loopback_by_address() {
        let gate = Arc::new(Gate::new(10, Some(1)));
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
