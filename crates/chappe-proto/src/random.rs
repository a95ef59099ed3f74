//! Where masking keys and handshake keys come from.
//!
//! The machine draws no random numbers of its own: a client is given a generator. By default it
//! is the operating system's, as masks must be unpredictable (RFC 6455, section 10.3).

use std::cell::RefCell;

/// A source of random bytes.
///
/// RFC 6455, section 5.3, wants masking keys from a strong source of entropy: whoever supplies
/// another generator than [`SystemRandom`] outside of tests gives up what masking is for.
///
/// ```
/// use std::sync::Arc;
/// use chappe_proto::{Connection, Limits, Payload, Random, Time};
///
/// /// For a test whose bytes are always the same.
/// struct Sevens;
///
/// impl Random for Sevens {
///     fn fill(&mut self, bytes: &mut [u8]) {
///         bytes.fill(7);
///     }
/// }
/// let limits = Arc::new(Limits::default());
/// let mut client = Connection::client_with_random(Time::ZERO, limits, Box::new(Sevens));
/// let mut out = Vec::new();
/// client.send(Payload::Binary(&[0]), &mut out)?;
/// assert_eq!(out, [0x82, 0x81, 7, 7, 7, 7, 7]);
/// # Ok::<(), chappe_proto::SendError>(())
/// ```
pub trait Random: Send {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The operating system's generator, read a kilobyte at a time into a pool of the thread.
///
/// # Panics
///
/// When the operating system has no random bytes to give; then no client can be safe.
///
/// ```
/// use chappe_proto::{Random, SystemRandom};
///
/// let (mut one, mut other) = ([0; 16], [0; 16]);
/// SystemRandom.fill(&mut one);
/// SystemRandom.fill(&mut other);
/// assert_ne!(one, other);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > POOL_BYTES {
            getrandom::fill(bytes).expect(NO_ENTROPY);
            return;
        }
        POOL.with_borrow_mut(|pool| pool.take(bytes));
    }
}

/// One system call for 256 masking keys: a call for each would cost more than the masking.
const POOL_BYTES: usize = 1024;

const NO_ENTROPY: &str = "the operating system supplies random bytes";

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES }) };
}

/// `0 <= used <= POOL_BYTES`: bytes before `used` have been handed out and are zero.
struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
}

impl Pool {
    fn take(&mut self, bytes: &mut [u8]) {
        if POOL_BYTES - self.used < bytes.len() {
            getrandom::fill(&mut self.bytes).expect(NO_ENTROPY);
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + bytes.len()];
        bytes.copy_from_slice(taken);
        taken.fill(0);
        self.used += bytes.len();
    }
}
