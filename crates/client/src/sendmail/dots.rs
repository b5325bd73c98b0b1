//! The line with nothing but a dot that ends a message.

/// A line with nothing but a dot ends a message.
#[derive(Debug, Default)]
pub(super) struct Dots {
    line: Line,
    ended: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    #[default]
    Start,
    Dot,
    DotCr,
    Middle,
}

impl Dots {
    /// Appends what of a chunk stands before the end. A dot that begins a line is held back until it is clear what it is.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for &octet in chunk {
            if self.ended {
                return;
            }
            let (held, next): (&[u8], Line) = match (self.line, octet) {
                (Line::Start, b'.') => {
                    self.line = Line::Dot;
                    continue;
                }
                (Line::Dot, b'\r') => {
                    self.line = Line::DotCr;
                    continue;
                }
                (Line::Dot | Line::DotCr, b'\n') => {
                    self.ended = true;
                    continue;
                }
                (Line::Dot, _) => (b".", Line::Middle),
                (Line::DotCr, _) => (b".\r", Line::Middle),
                (_, b'\n') => (b"", Line::Start),
                _ => (b"", Line::Middle),
            };
            out.extend_from_slice(held);
            out.push(octet);
            self.line = next;
        }
    }

    /// Whether that line has come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The input is over.
    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        if !self.ended && matches!(self.line, Line::Dot | Line::DotCr) {
            out.push(b'.');
        }
    }
}
