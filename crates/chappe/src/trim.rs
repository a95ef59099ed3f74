//! Gives memory back to the system that the C library keeps for later. The crate's only `unsafe`.
#![allow(
    unsafe_code,
    reason = "a function of the C library that nobody has wrapped"
)]

/// Has glibc give back what is free in its heap. Elsewhere, and where the program has chosen
/// another allocator, there is nothing to be done.
///
/// By itself glibc gives back what is free at the heap's end. One block that outlives a peak, and
/// was allocated amid it, keeps all that is below. This takes a millisecond for some 10 MB that
/// are given back, and others wait for it where they allocate.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and may be called at any time, from any thread (MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
