//! The memory that an input needs.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Calls a function, and returns how many bytes more than before were allocated at once. It is
/// right if no other thread allocates meanwhile.
pub(crate) fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = call();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}
