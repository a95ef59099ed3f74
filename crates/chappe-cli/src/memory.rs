//! How much memory connections may hold together: what `--memory-max` says, and what it is otherwise.
//!
//! The default is the library's, except where the address space is limited (`ulimit -v`). There glibc
//! reserves 64 MiB of it for each thread's heap, used or not, and a process that finds nothing left
//! aborts: so connections get a quarter of what the threads leave.

use chappe::Memory;

/// Reads a size of at least one byte: `65536`, `64KiB`, `64M`, `1 gib`. An error says what is accepted.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let unit_begins = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit_begins.unwrap_or(text.len()));
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        _ => None,
    };
    let bytes = number
        .parse::<usize>()
        .ok()
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| SIZES.to_owned())
}

const SIZES: &str = "give a whole number of bytes, KiB, MiB or GiB, more than 0 and fewer than 16 EiB, \
     such as 67108864, 64MiB or 64M";

/// The bound where none is given, for a server with so many shards.
pub(crate) fn default_bytes_max(shards: usize) -> usize {
    let bytes_max = Memory::of_the_process().bytes_max();
    let Some(limit) = address_space_max() else {
        return bytes_max;
    };
    let threads = shards.saturating_add(THREADS_BESIDE);
    let bound = within_address_space(limit, address_space_in_use(), threads as u64);
    usize::try_from(bound).map_or(bytes_max, |bound| bound.min(bytes_max))
}

/// How many shards there is address space for, with as much beside their heaps; at least one.
pub(crate) fn shards_max() -> usize {
    let shards = address_space_max().map(|limit| limit / (2 * HEAP_BYTES));
    shards
        .and_then(|shards| usize::try_from(shards).ok())
        .map_or(usize::MAX, |shards| shards.max(1))
}

/// What connections may hold where so many bytes of address space are in use, and so many threads
/// will begin.
fn within_address_space(limit: u64, in_use: u64, threads: u64) -> u64 {
    let beside = threads.saturating_mul(THREAD_BYTES);
    let free = limit.saturating_sub(in_use).saturating_sub(beside);
    // Threads for which there is no room have none of their own.
    let heaps = threads.min(free / HEAP_BYTES);
    let left = free - heaps * HEAP_BYTES;
    // What the heaps have is of use, too, if not to everybody.
    (left / 4).max(limit / 64)
}

/// The limit on the process's address space, if there is one.
fn address_space_max() -> Option<u64> {
    let limit = rlimit::Resource::AS.get_soft().ok();
    limit.filter(|limit| *limit != rlimit::INFINITY)
}

/// Bytes of address space that the process has; 0 where the system does not tell.
fn address_space_in_use() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmSize:"))
        .and_then(|size| size.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// The thread that greets. That which logs has begun, and the main thread's heap is another one.
const THREADS_BESIDE: usize = 1;

/// What a thread takes beside its heap: 2 MiB for its stack (`std::thread`, "Stack size"), and as much
/// for a message of 1 MiB that it reads beyond the bound, before others are closed for it.
const THREAD_BYTES: u64 = 4 * 1024 * 1024;

/// What glibc reserves for a thread's heap, where pointers have 64 bits.
const HEAP_BYTES: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        let rows = [
            ("1", 1),
            ("65536", 65_536),
            ("007", 7),
            ("1K", 1024),
            ("1kib", 1024),
            ("64MiB", 64 << 20),
            ("64 MiB", 64 << 20),
            ("64m", 64 << 20),
            ("2G", 2 << 30),
            ("2gIb", 2 << 30),
        ];
        for (text, bytes) in rows {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse(&usize::MAX.to_string()), Ok(usize::MAX));
        let most = usize::MAX >> 30;
        assert_eq!(parse(&format!("{most}G")), Ok(most << 30));
    }

    #[test]
    fn what_is_no_size_is_refused_in_words() {
        let too_many = format!("{}0", usize::MAX);
        let too_many_gib = format!("{}G", (usize::MAX >> 30) + 1);
        let rows = [
            "",
            " ",
            "0",
            "0K",
            "-1",
            "+1",
            "1.5G",
            "1,000",
            "G",
            "MiB",
            "1B",
            "1KB",
            "1MB",
            "1T",
            "1 0",
            "1MiBs",
            "0x10",
            "1e9",
            "much",
            "½",
            &too_many,
            &too_many_gib,
        ];
        for text in rows {
            assert_eq!(parse(text), Err(SIZES.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_threads_take_is_not_for_connections() {
        let rows = [
            // Limit, in use, threads, bound, all in MiB.
            (4096, 80, 3, (4096 - 80 - 3 * 68) / 4),
            (400, 80, 3, (400 - 80 - 3 * 68) / 4),
            // Four heaps of nine find room.
            (400, 80, 9, (400 - 80 - 9 * 4 - 4 * 64) / 4),
            // Next to nothing is left beside the heaps, or nothing at all.
            (288, 80, 3, 4),
            (64, 80, 3, 1),
        ];
        for (limit, in_use, threads, bound) in rows {
            let bytes = within_address_space(limit * MIB, in_use * MIB, threads);
            assert_eq!(bytes / MIB, bound, "{limit} {in_use} {threads}");
        }
        assert!(within_address_space(u64::MAX, 0, u64::MAX) > 0);
    }
}
