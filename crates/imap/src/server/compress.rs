//! COMPRESS=DEFLATE (RFC 4978), inside the session.

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Server, State};
use crate::response::{Code, Completion};

/// So much is inflated at once: however well somebody has packed nothing into few octets, no more than this is
/// unpacked before it has been looked at.
const INFLATE_PIECE: usize = 16 * 1024;
/// Speed counts more than the last octet.
const LEVEL: u32 = 3;
/// Room for deflated output is made in such steps.
const DEFLATE_STEP: usize = 16 * 1024;

/// The state of both directions.
#[derive(Debug)]
pub(super) struct Compression {
    /// What has come and is not unpacked.
    input: BytesMut,
    /// So many octets of the output still go out as they are.
    plain: usize,
    inflate: Decompress,
    /// The last piece was filled: there may be more, even without more input.
    filled: bool,
    /// Only there while something is being said: the window of a compressor is larger than all the rest of a session.
    /// Each one begins at an octet boundary, where the one before was flushed to, and refers to nothing before: to the
    /// client it is one stream.
    deflate: Option<Compress>,
}

impl Compression {
    fn new(input: BytesMut, plain: usize) -> Compression {
        Compression { input, plain, inflate: Decompress::new(false), filled: false, deflate: None }
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn has_input(&self) -> bool {
        self.filled || !self.input.is_empty()
    }

    /// The session waits: what is not needed for that is let go.
    pub(super) fn rest(&mut self) {
        self.deflate = None;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Unpacks a piece; `None` if what came is not deflated.
    fn inflate(&mut self, piece: &mut [u8]) -> Option<usize> {
        let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(&self.input, piece, FlushDecompress::None).ok()?;
        let read = self.inflate.total_in() - read;
        let made = (self.inflate.total_out() - made) as usize;
        self.input.advance(usize::try_from(read).unwrap_or(usize::MAX).min(self.input.len()));
        self.filled = made == piece.len();
        // A client may end its stream only with the connection.
        if status == Status::StreamEnd || (read == 0 && made == 0 && !self.input.is_empty()) {
            return None;
        }
        Some(made)
    }

    fn deflate(&mut self, mut plain: &[u8]) -> Bytes {
        let deflate =
            self.deflate.get_or_insert_with(|| Compress::new(flate2::Compression::new(LEVEL), false));
        let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
        loop {
            let (before, length) = (deflate.total_in(), packed.len());
            let done = deflate.compress_vec(plain, &mut packed, FlushCompress::Sync);
            let read = usize::try_from(deflate.total_in() - before).unwrap_or(plain.len());
            plain = plain.get(read..).unwrap_or_default();
            // Where there is room left, the flush is complete. Without any progress there is nothing to hope for.
            let complete = plain.is_empty() && packed.len() < packed.capacity();
            if complete
                || done.is_err()
                || (read == 0 && packed.len() == length && length < packed.capacity())
            {
                break;
            }
            packed.reserve(DEFLATE_STEP);
        }
        packed.into()
    }
}

impl Server {
    pub(super) fn compress(&mut self, tag: &str) {
        if self.compression.is_some() {
            let text = "The connection is compressed already";
            return self.tagged(tag, &Completion::no(Code::CompressionActive, text));
        }
        self.ok(tag, "Compression begins");
        // The answer goes out as it is, and what came behind the command is compressed already.
        let rest = BytesMut::from(self.input.as_slice());
        self.input.clear();
        self.compression = Some(Box::new(Compression::new(rest, self.output.len())));
    }

    /// Unpacks some more input; whether there was any.
    pub(super) fn inflate_some(&mut self) -> bool {
        let Some(compression) = &mut self.compression else { return false };
        if !compression.has_input() || matches!(self.state, State::Closed) {
            return false;
        }
        let mut piece = vec![0; INFLATE_PIECE];
        match compression.inflate(&mut piece) {
            Some(made) => {
                self.input.push(piece.get(..made).unwrap_or_default());
                made > 0 || compression.has_input()
            }
            None => {
                self.bye(None, "What comes is not deflated");
                true
            }
        }
    }

    /// Takes what is to be sent.
    pub(super) fn take_output(&mut self) -> Bytes {
        let Some(compression) = &mut self.compression else { return self.output.split().freeze() };
        if compression.plain > 0 {
            let plain = std::mem::take(&mut compression.plain).min(self.output.len());
            return self.output.split_to(plain).freeze();
        }
        let packed = compression.deflate(&self.output);
        self.output.clear();
        packed
    }
}
