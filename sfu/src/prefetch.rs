//! Prefetches memory before its turn.
//!
//! The code does not wait for a prefetch: it costs an instruction, and any address is allowed.

use prefetch_index::prefetch_index;

/// A line of the processor's cache.
const LINE: usize = 64;

/// Asks for the line where something begins.
pub(crate) fn line<T>(at: &T) {
    prefetch_index(std::slice::from_ref(at), 0);
}

/// Asks for so many bytes of memory from a small field on.
pub(crate) fn stretch<T>(from: &T, bytes: usize) {
    const { assert!(LINE.is_multiple_of(size_of::<T>())) };
    let from = std::slice::from_ref(from);
    for index in (0..bytes.div_ceil(size_of::<T>())).step_by(LINE / size_of::<T>()) {
        // The address may lie beyond the slice: it is not read.
        prefetch_index(from, index);
    }
}
