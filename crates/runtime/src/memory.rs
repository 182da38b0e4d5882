//! What the allocator keeps and the system could use.

/// Gives memory that this thread has freed back to the system.
///
/// The allocator keeps it for a while, which is right under load and wrong when thousands of connections have just
/// become idle. Costs up to some milliseconds; does nothing where the program has another allocator than mimalloc.
pub fn give_back() {
    // SAFETY: it takes no pointers and may be called from any thread at any time.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
