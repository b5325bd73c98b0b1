//! What a scan keeps besides the structure, for a card.

/// What a scan keeps for a card besides the structure.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The header of the message itself, as far as it was looked at.
    pub(crate) header: Vec<u8>,
    /// Not all of that header was looked at.
    pub(crate) header_is_cut: bool,
    /// The beginning of the first text that is no HTML, and that of the first HTML.
    pub(crate) heads: [Head; 2],
}

/// The beginning of a part's body.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Which part it is, counted in the order of the tree.
    pub(crate) part: Option<usize>,
    pub(crate) octets: Vec<u8>,
    start: u64,
    end: Option<u64>,
}

/// How much is kept of a first text, and of a first HTML, which has much to tell before it says something.
pub(super) const HEADS_MAX: [usize; 2] = [4 << 10, 24 << 10];

impl Head {
    pub(super) fn begin(&mut self, part: usize, start: u64) {
        if self.part.is_none() {
            self.part = Some(part);
            self.start = start;
        }
    }

    pub(super) fn feed(&mut self, start: u64, octets: &[u8], limit: usize) {
        let wanted = self.start + self.octets.len() as u64;
        let Some(skip) = wanted.checked_sub(start).and_then(|skip| usize::try_from(skip).ok()) else {
            return;
        };
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(wanted));
        let room = limit.saturating_sub(self.octets.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(new) = octets.get(skip..) else { return };
        self.octets.extend_from_slice(new.get(..room).unwrap_or(new));
    }

    pub(super) fn cut(&mut self, end: u64) {
        self.end = Some(end);
        let length = usize::try_from(end.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.octets.truncate(length);
    }
}
