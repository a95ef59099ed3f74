//! The memory that connections may hold together, for what their peers sent or do not read.
//!
//! Each connection is bounded by itself; this bounds the sum. A connection tells after each of its
//! turns what it holds. Where the sum exceeds the bound, those that hold most are closed with 1013,
//! until the rest is well within it. What they held is freed at once, whatever they wait for, but for
//! what is being written and the message that a handler has taken, which go when their tasks run next.
//! Whoever holds less than an equal share is never closed.
//!
//! Heads that are not complete count, too, and are refused where they hold a quarter of the bound.

use std::cmp::Reverse;
use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use slab::Slab;

/// A bound on the memory that connections hold together, for what peers sent that is incomplete or not
/// received, and for what they do not read. Clones are the same memory.
///
/// The process takes more: the connections themselves, and what its allocator keeps between buffers of
/// many sizes, which with glibc can be as much again.
///
/// ```
/// use chappe::{Acceptor, Memory};
///
/// let memory = Memory::new(64 * 1024 * 1024);
/// let acceptor = Acceptor::new().memory(&memory);
/// assert_eq!((memory.bytes_max(), memory.held_bytes()), (67_108_864, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Memory(Arc<Pool>);

struct Pool {
    bytes_max: usize,
    held: AtomicUsize,
    /// The most that was held since this was last taken.
    peak: AtomicUsize,
    /// Bytes of heads that are not complete, among those that are held.
    heads: AtomicUsize,
    /// What may be held before some is to be freed: the bound, or more where there was none to free.
    tolerated: AtomicUsize,
    /// The connections among those who hold some.
    connections: Mutex<Slab<Weak<dyn Holder>>>,
    /// Held by whoever is closing some.
    relieving: Mutex<()>,
}

/// A connection, which can be closed for the memory that it holds.
pub(crate) trait Holder: Send + Sync {
    /// Bytes that it holds, as far as it said.
    fn held_bytes(&self) -> usize;

    /// Closes it with 1013, and frees what it holds.
    fn shed(&self);
}

static OF_THE_PROCESS: LazyLock<Memory> = LazyLock::new(|| Memory::new(default_bytes_max()));

impl Memory {
    /// A memory of its own, with this bound in bytes. `usize::MAX`: no bound.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Pool {
            bytes_max,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            heads: AtomicUsize::new(0),
            tolerated: AtomicUsize::new(bytes_max),
            connections: Mutex::default(),
            relieving: Mutex::default(),
        }))
    }

    /// The memory of all connections of the process that were given no other.
    ///
    /// Its bound is 1 GiB, or a quarter of what the process may use, if that is less: of the limits on
    /// its address space and data (`ulimit -v`, `ulimit -d`), of its control group and of the machine.
    pub fn of_the_process() -> Self {
        OF_THE_PROCESS.clone()
    }

    /// The bound.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Bytes that are held now.
    pub fn held_bytes(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// The most that was held since this was last asked, by whoever asked: for a program that watches
    /// for peaks.
    pub fn take_peak_bytes(&self) -> usize {
        self.0.peak.swap(self.held_bytes(), Ordering::Relaxed)
    }

    /// Begins to hold a head, nothing yet.
    pub(crate) fn head(&self) -> HeadShare {
        HeadShare {
            memory: self.clone(),
            held: 0,
        }
    }

    fn add(&self, bytes: usize) -> usize {
        let held = self.0.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.0.peak.fetch_max(held, Ordering::Relaxed);
        held
    }

    /// Begins to hold some of it, nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            held: 0,
            key: None,
        }
    }

    /// Closes those connections that hold most, until an eighth of the bound is free or nobody holds
    /// more than an equal share. No connection may be locked by the caller.
    pub(crate) fn relieve(&self) {
        // One is enough.
        let _guard = match self.0.relieving.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let enough = self.0.bytes_max - self.0.bytes_max / 8;
        let mut holders: Vec<_> = self
            .connections()
            .iter()
            .filter_map(|(_, connection)| connection.upgrade())
            .collect();
        let equal_share = self.0.bytes_max / holders.len().max(1);
        holders.sort_by_cached_key(|connection| Reverse(connection.held_bytes()));
        for connection in holders {
            if self.held_bytes() <= enough || connection.held_bytes() <= equal_share {
                break;
            }
            connection.shed();
        }
        // Where this was in vain, it is not tried again for each byte more.
        let held = self.held_bytes();
        let tolerated = if held <= self.0.bytes_max {
            self.0.bytes_max
        } else {
            held.saturating_add(self.0.bytes_max / 8)
        };
        self.0.tolerated.store(tolerated, Ordering::Relaxed);
    }

    fn connections(&self) -> MutexGuard<'_, Slab<Weak<dyn Holder>>> {
        let connections = self.0.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("bytes_max", &self.bytes_max)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

/// What one holder has of a memory. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    held: usize,
    /// Among the connections that can be closed, from 1 on.
    key: Option<NonZeroUsize>,
}

impl Share {
    /// What is held can be freed by closing this connection.
    pub(crate) fn register(&mut self, connection: Weak<dyn Holder>) {
        let key = self.memory.connections().insert(connection);
        self.key = NonZeroUsize::new(key + 1);
    }

    /// Says how many bytes are held. Tells whether all hold no more than they may; if not, somebody has
    /// to [`relieve`](Memory::relieve) the memory.
    #[must_use]
    #[inline]
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        // The common case is little, before and after, and not worth to be said.
        if bytes.abs_diff(self.held) < SAID_BYTES_MIN && (bytes > 0 || self.held == 0) {
            return true;
        }
        let pool = &*self.memory.0;
        let before = std::mem::replace(&mut self.held, bytes);
        if bytes < before {
            let less = before - bytes;
            if pool.held.fetch_sub(less, Ordering::Relaxed) - less <= pool.bytes_max {
                pool.tolerated.store(pool.bytes_max, Ordering::Relaxed);
            }
            return true;
        }
        let held = self.memory.add(bytes - before);
        held <= pool.bytes_max || held <= pool.tolerated.load(Ordering::Relaxed)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Gives everything back, before this is dropped.
    pub(crate) fn give_back(&mut self) {
        let _ = self.hold(0);
        if let Some(key) = self.key.take() {
            let connection = self.memory.connections().remove(key.get() - 1);
            drop(connection);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A difference of less is not said: a page for each connection, at most.
const SAID_BYTES_MIN: usize = 4096;

/// What a head that is not complete has of a memory. It is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeadShare {
    memory: Memory,
    held: usize,
}

impl HeadShare {
    /// Says how many bytes the head has. Tells whether it may: heads hold a quarter of the memory at
    /// most, and nobody is closed for them.
    #[must_use]
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held);
        self.held += more;
        let pool = &*self.memory.0;
        let heads = pool.heads.fetch_add(more, Ordering::Relaxed) + more;
        let held = self.memory.add(more);
        heads <= pool.bytes_max / 4 && held <= pool.bytes_max
    }
}

impl Drop for HeadShare {
    fn drop(&mut self) {
        let pool = &*self.memory.0;
        pool.heads.fetch_sub(self.held, Ordering::Relaxed);
        pool.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// The bound where nothing else limits the process.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// What part of what the process may use connections may hold. Beside it there are the connections
/// themselves, the application, and what an allocator keeps.
const PART: u64 = 4;

fn default_bytes_max() -> usize {
    let limits = [
        crate::unix::memory_limit(),
        control_group_limit(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")),
        machine_limit(Path::new("/proc/meminfo")),
    ];
    let limit = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
    usize::try_from(limit / PART).map_or(BYTES_MAX, |bytes| bytes.min(BYTES_MAX))
}

/// The least that the process's control group or one above it may use (Linux, cgroups(7)): version 2
/// with one hierarchy, or the memory hierarchy of version 1.
fn control_group_limit(groups: &Path, root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(groups).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (folder, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let path = PathBuf::from(path.trim_start_matches('/'));
        let limit = |group: &Path| {
            let text = fs::read_to_string(folder.join(group).join(file)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        path.ancestors().filter_map(limit).min()
    });
    limits.min()
}

/// What the machine has (Linux, `proc_meminfo(5)`).
fn machine_limit(meminfo: &Path) -> Option<u64> {
    let text = fs::read_to_string(meminfo).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is not said is less.
    const PAGE: usize = SAID_BYTES_MIN;

    #[test]
    fn shares_say_when_they_hold_more_together_than_they_may() {
        let memory = Memory::new(100 * PAGE);
        let mut shares: Vec<_> = (0..3).map(|_| memory.share()).collect();
        assert!(shares[0].hold(90 * PAGE));
        assert!(shares[1].hold(10 * PAGE), "the bound itself is within it");
        assert!(!shares[1].hold(11 * PAGE), "one more is not");
        assert!(shares[2].hold(0), "who holds nothing is told nothing");
        assert!(shares[1].hold(3 * PAGE), "nor who holds less than before");
        assert_eq!(memory.held_bytes(), 93 * PAGE);
        drop(shares.remove(0));
        assert!(shares[0].hold(97 * PAGE), "what was held is free again");
        drop(shares);
        assert_eq!(memory.held_bytes(), 0);
    }

    /// A connection that holds so much, and gives it back when it is shed.
    struct Connection(Mutex<Share>);

    impl Connection {
        fn new(memory: &Memory, bytes: usize) -> Arc<Self> {
            let connection = Arc::new(Self(Mutex::new(memory.share())));
            let weak: Weak<Self> = Arc::downgrade(&connection);
            let mut share = connection.0.lock().unwrap();
            share.register(weak);
            let _ = share.hold(bytes * PAGE);
            drop(share);
            connection
        }
    }

    impl Holder for Connection {
        fn held_bytes(&self) -> usize {
            self.0.lock().unwrap().held_bytes()
        }

        fn shed(&self) {
            self.0.lock().unwrap().give_back();
        }
    }

    #[test]
    fn those_who_hold_most_are_shed_until_an_eighth_is_free() {
        let memory = Memory::new(800 * PAGE);
        let held = [10, 300, 90, 200, 0, 250];
        let connections = held.map(|bytes| Connection::new(&memory, bytes));
        assert_eq!(memory.held_bytes(), 850 * PAGE);
        memory.relieve();
        let left: Vec<_> = connections
            .iter()
            .map(|it| it.held_bytes() / PAGE)
            .collect();
        assert_eq!(left, [10, 0, 90, 200, 0, 250], "550 of at most 700");
        drop(connections);
        assert_eq!(memory.held_bytes(), 0);
        assert!(memory.connections().is_empty());
    }

    #[test]
    fn who_holds_less_than_an_equal_share_is_not_shed() {
        let memory = Memory::new(1000 * PAGE);
        let mut connections: Vec<_> = (0..100).map(|_| Connection::new(&memory, 9)).collect();
        connections.extend((0..5).map(|_| Connection::new(&memory, 100)));
        memory.relieve();
        let left: Vec<_> = connections
            .iter()
            .map(|it| it.held_bytes() / PAGE)
            .collect();
        assert!(left[..100].iter().all(|&bytes| bytes == 9), "{left:?}");
        assert!(memory.held_bytes() <= 1000 * PAGE, "{memory:?}");
    }

    #[test]
    fn less_than_a_page_is_not_said_but_that_nothing_is_held() {
        let memory = Memory::new(usize::MAX);
        let mut share = memory.share();
        for (bytes, held) in [
            (PAGE - 1, 0),
            (PAGE, PAGE),
            (2 * PAGE - 1, PAGE),
            (1, PAGE),
            (0, 0),
        ] {
            assert!(share.hold(bytes));
            assert_eq!(memory.held_bytes(), held, "{bytes} bytes");
        }
    }

    #[test]
    fn the_peak_is_the_most_since_it_was_taken() {
        let memory = Memory::new(usize::MAX);
        let mut share = memory.share();
        let _ = (share.hold(9 * PAGE), share.hold(2 * PAGE));
        assert_eq!(memory.take_peak_bytes(), 9 * PAGE);
        assert_eq!(memory.take_peak_bytes(), 2 * PAGE);
    }

    #[test]
    fn heads_hold_a_quarter_at_most_and_give_it_back() {
        let memory = Memory::new(100);
        let (mut first, mut second) = (memory.head(), memory.head());
        assert!(first.hold(20) && second.hold(5));
        assert!(!second.hold(6), "26 of 100");
        assert_eq!(memory.held_bytes(), 26);
        drop((first, second));
        assert_eq!(memory.held_bytes(), 0);
        assert!(memory.head().hold(25));
    }

    /// A connection that can't be closed for what it holds.
    struct Stubborn(Mutex<Share>);

    impl Holder for Stubborn {
        fn held_bytes(&self) -> usize {
            self.0.lock().unwrap().held_bytes()
        }

        fn shed(&self) {}
    }

    #[test]
    fn relief_that_was_in_vain_is_not_sought_for_each_byte_more() {
        let memory = Memory::new(800 * PAGE);
        let stubborn = Arc::new(Stubborn(Mutex::new(memory.share())));
        let weak: Weak<Stubborn> = Arc::downgrade(&stubborn);
        let mut share = stubborn.0.lock().unwrap();
        share.register(weak);
        assert!(!share.hold(900 * PAGE));
        drop(share);
        memory.relieve();
        let mut share = stubborn.0.lock().unwrap();
        assert!(share.hold(1000 * PAGE), "an eighth more");
        assert!(!share.hold(1001 * PAGE));
        assert!(share.hold(700 * PAGE));
        assert!(!share.hold(801 * PAGE), "the bound holds again");
    }

    #[test]
    fn a_panic_of_one_who_is_shed_does_not_end_the_bound() {
        struct Panics;
        impl Holder for Panics {
            fn held_bytes(&self) -> usize {
                usize::MAX
            }

            fn shed(&self) {
                panic!("on purpose");
            }
        }
        let memory = Memory::new(100 * PAGE);
        let panics = Arc::new(Panics);
        let weak: Weak<Panics> = Arc::downgrade(&panics);
        let mut share = memory.share();
        share.register(weak);
        let held = Connection::new(&memory, 200);
        let relieve = std::panic::AssertUnwindSafe(|| memory.relieve());
        assert!(std::panic::catch_unwind(relieve).is_err());
        drop((panics, share));
        memory.relieve();
        assert_eq!(held.held_bytes(), 0, "it is relieved all the same");
    }

    #[test]
    fn without_a_bound_any_sum_is_within_it() {
        let memory = Memory::new(usize::MAX);
        let mut share = memory.share();
        assert!(share.hold(usize::MAX / 2));
    }

    /// A folder with these files in it, and what `look` finds there.
    fn with_files<R>(files: &[(&str, &str)], look: impl FnOnce(&Path) -> R) -> R {
        use std::sync::atomic::AtomicU32;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("chappe-memory-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let result = look(&folder);
        fs::remove_dir_all(&folder).unwrap();
        result
    }

    #[test]
    fn the_least_limit_among_control_groups_counts() {
        type Files = &'static [(&'static str, &'static str)];
        let rows: [(Files, Option<u64>); 5] = [
            (
                &[
                    ("groups", "0::/a/b\n"),
                    ("memory.max", "9000\n"),
                    ("a/memory.max", "500\n"),
                    ("a/b/memory.max", "max\n"),
                ],
                Some(500),
            ),
            (&[("groups", "0::/\n"), ("memory.max", "max\n")], None),
            (
                &[
                    ("groups", "5:cpu,memory:/x\n4:pids:/x\n0::/\n"),
                    ("memory/x/memory.limit_in_bytes", "700\n"),
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(700),
            ),
            (&[("groups", "nonsense\n")], None),
            (&[("other", "")], None),
        ];
        for (files, expected) in rows {
            let limit = with_files(files, |root| {
                control_group_limit(&root.join("groups"), root)
            });
            assert_eq!(limit, expected, "{files:?}");
        }
    }

    #[test]
    fn the_machine_is_a_limit() {
        let text = "MemTotal:       24576 kB\nMemFree: 1 kB\n";
        let limit = with_files(&[("meminfo", text)], |root| {
            machine_limit(&root.join("meminfo"))
        });
        assert_eq!(limit, Some(24 * 1024 * 1024));
    }
}
