//! A connection that has nothing to do with the attack and must not feel it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bytes::masked;
use super::wire::Peer;

/// The longest that an echo may take during any attack. Most is for the machine, which has other
/// work too.
pub(super) const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);

/// Echoes 20-byte messages on a thread of its own until dropped.
#[derive(Debug)]
pub(super) struct Bystander {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Watch {
    stop: AtomicBool,
    worst: Mutex<Duration>,
    failure: Mutex<Option<String>>,
}

impl Bystander {
    pub(super) fn start(address: SocketAddr, pause: Duration) -> Result<Self, String> {
        let mut peer = Peer::upgraded(address)?;
        let watch = Arc::new(Watch::default());
        let shared = Arc::clone(&watch);
        let thread = thread::spawn(move || {
            if let Err(failure) = shared.echo(&mut peer, pause) {
                *shared.failure.lock().expect("nobody panics with it") = Some(failure);
            }
        });
        Ok(Self {
            watch,
            thread: Some(thread),
        })
    }

    /// Forgets the round trips so far.
    pub(super) fn forget(&self) {
        *self.watch.worst.lock().expect("nobody panics with it") = Duration::ZERO;
    }

    /// The longest round trip since then, one that is under way included.
    pub(super) fn worst(&self) -> Result<Duration, String> {
        // An echo that began before is over after this pause, or is itself too late.
        thread::sleep(Duration::from_millis(2));
        match &*self.watch.failure.lock().expect("nobody panics with it") {
            Some(failure) => Err(failure.clone()),
            None => Ok(*self.watch.worst.lock().expect("nobody panics with it")),
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.watch.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn echo(&self, peer: &mut Peer, pause: Duration) -> Result<(), String> {
        let mut number = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            let text = format!("{number:020}");
            let start = Instant::now();
            peer.send(&masked(0x81, text.as_bytes()))
                .map_err(|error| format!("send: {error}"))?;
            self.await_echo(peer, text.as_bytes(), start)?;
            let mut worst = self.worst.lock().expect("nobody panics with it");
            *worst = (*worst).max(start.elapsed());
            drop(worst);
            thread::sleep(pause);
        }
        Ok(())
    }

    fn await_echo(&self, peer: &mut Peer, text: &[u8], start: Instant) -> Result<(), String> {
        const SLICE: Duration = Duration::from_millis(100);
        const PATIENCE: Duration = Duration::from_secs(10);
        while start.elapsed() < PATIENCE {
            match peer.read_frame(SLICE) {
                Some(frame) if frame.first_byte == 0x89 => {
                    let _ = peer.send(&masked(0x8a, &frame.payload));
                }
                Some(frame) if frame.first_byte == 0x81 && frame.payload == text => return Ok(()),
                Some(frame) => return Err(format!("got {frame:02x?}")),
                None if peer.has_ended() => return Err("the stream ended".to_owned()),
                None if self.stop.load(Ordering::Relaxed) => return Ok(()),
                None => {
                    let mut worst = self.worst.lock().expect("nobody panics with it");
                    *worst = (*worst).max(start.elapsed());
                }
            }
        }
        Err(format!("no echo within {PATIENCE:?}"))
    }
}
