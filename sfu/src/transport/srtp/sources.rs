//! The memory of each SSRC that a peer sends, after its first authenticated packet.

use super::index::ReplayWindow;

/// Replay windows by SSRC.
pub(super) struct Sources<const WORDS: usize> {
    /// Apart from the windows, so that looking one up reads four cache lines at most.
    ssrcs: Vec<u32>,
    windows: Vec<Entry<WORDS>>,
    accepted: u64,
}

struct Entry<const WORDS: usize> {
    window: ReplayWindow<WORDS>,
    /// The time of the last accepted packet, in packets accepted.
    last: u64,
}

/// SSRCs remembered. 8 tracks of 3 layers, each with RTX, are 48 at a time. An SSRC no longer in
/// use makes way for new ones, least recently used first; sixteen spare ones keep live streams from
/// that.
pub(super) const MAX_SOURCES: usize = 64;

impl<const WORDS: usize> Default for Sources<WORDS> {
    fn default() -> Self {
        Self {
            ssrcs: Vec::new(),
            windows: Vec::new(),
            accepted: 0,
        }
    }
}

impl<const WORDS: usize> Sources<WORDS> {
    /// A known SSRC's place and window. Unknown ones stay unknown.
    pub(super) fn find(&self, ssrc: u32) -> Option<(usize, &ReplayWindow<WORDS>)> {
        let at = self.ssrcs.iter().position(|known| *known == ssrc)?;
        Some((at, &self.windows.get(at)?.window))
    }

    /// Remembers an authenticated packet of the SSRC found at `at`, or of a new one.
    pub(super) fn accept(&mut self, at: Option<usize>, ssrc: u32, index: u64) {
        self.accepted += 1;
        if let Some(entry) = at.and_then(|at| self.windows.get_mut(at)) {
            entry.window.accept(index);
            entry.last = self.accepted;
            return;
        }
        let entry = Entry {
            window: ReplayWindow::starting_at(index),
            last: self.accepted,
        };
        if self.windows.len() < MAX_SOURCES {
            self.ssrcs.push(ssrc);
            self.windows.push(entry);
            return;
        }
        let oldest = self.windows.iter().enumerate().min_by_key(|(_, e)| e.last);
        if let Some(at) = oldest.map(|(at, _)| at)
            && let (Some(old_ssrc), Some(old)) = (self.ssrcs.get_mut(at), self.windows.get_mut(at))
        {
            *old_ssrc = ssrc;
            *old = entry;
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ssrcs.capacity() + self.windows.capacity()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ssrcs.len()
    }
}
