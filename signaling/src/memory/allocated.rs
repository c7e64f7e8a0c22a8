//! For tests: the bytes that a value really holds.

/// The bytes that `make` allocates and that its result holds. Nothing of it may go to other threads.
pub(crate) fn held_by<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let mut made = None;
    let counts = allocation_counter::measure(|| made = Some(make()));
    let held = usize::try_from(counts.bytes_current).unwrap_or_default();
    (made.expect("it was made"), held)
}
