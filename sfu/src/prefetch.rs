//! Asking the processor for memory before its turn.
//!
//! A prefetch is not waited for: it costs an instruction, and what is asked for may be anything.

use prefetch_index::prefetch_index;

/// Asks for the line where something begins.
pub(crate) fn line<T>(at: &T) {
    prefetch_index(std::slice::from_ref(at), 0);
}
