//! Taking in bodies: small ones in memory, larger ones in a file, hashed while they come.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};

use super::Shared;
use super::disk::DiskFile;
use crate::{BodyError, TxError};

/// Up to here a body is held in memory whatever else goes on.
const MEMORY_SURE: usize = 64 << 10;
/// Up to here it is, as long as all such bodies together stay below [`MEMORY_ALL`]; and up to here a body goes into a
/// segment. Larger ones are a file each.
const INLINE_MAX: usize = 1 << 20;
/// For all bodies on their way between [`MEMORY_SURE`] and [`INLINE_MAX`].
const MEMORY_ALL: usize = 64 << 20;
/// A file is written in pieces of this size.
const PIECE: usize = 256 << 10;

/// A body being received. Hand it to [`crate::Store::commit`]; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct NewBody {
    shared: Arc<Shared>,
    buffer: BytesMut,
    spill: Option<Spill>,
    reserved: usize,
    len: u64,
    crc: u32,
    /// Why it is of no use any more. Also while a piece is being written: a caller that gives up waiting has lost it.
    broken: Option<BodyError>,
}

#[derive(Debug)]
struct Spill {
    file: Arc<DiskFile>,
    own: Arc<OwnFile>,
    written: u64,
}

impl NewBody {
    pub(crate) fn new(shared: Arc<Shared>, size_hint: Option<u64>) -> NewBody {
        let expected = usize::try_from(size_hint.unwrap_or(0)).unwrap_or(usize::MAX).min(MEMORY_SURE);
        NewBody {
            shared,
            buffer: BytesMut::with_capacity(expected),
            spill: None,
            reserved: 0,
            len: 0,
            crc: 0,
            broken: None,
        }
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends. Returns when there is room for more, so that the sender is slowed down to the speed of the disk.
    ///
    /// # Errors
    /// When the body needs the disk and the disk is nearly full or fails; the body is then of no use.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        self.len += chunk.len() as u64;
        if self.spill.is_none() && self.reserve(self.buffer.len() + chunk.len()) {
            self.buffer.extend_from_slice(&chunk);
            return Ok(());
        }
        self.broken = Some(BodyError::Io("it was not waited for".to_owned()));
        let done = self.write_out(chunk).await;
        self.broken = done.clone().err();
        done
    }

    async fn write_out(&mut self, chunk: Bytes) -> Result<(), BodyError> {
        if self.spill.is_none() {
            self.spill = Some(Spill::begin(self.shared.clone()).await?);
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let room = PIECE.saturating_sub(self.buffer.len()).max(1);
            self.buffer.extend_from_slice(&rest.split_to(room.min(rest.len())));
            if self.buffer.len() >= PIECE {
                self.write_piece().await?;
            }
        }
        Ok(())
    }

    /// Whether `len` octets may be held in memory.
    fn reserve(&mut self, len: usize) -> bool {
        if len <= MEMORY_SURE {
            return true;
        }
        if len > INLINE_MAX {
            return false;
        }
        // In steps, so that the shared counter is not touched for each chunk.
        if len > self.reserved {
            let want = len.next_power_of_two();
            let more = want - self.reserved;
            let memory = &self.shared.memory;
            if memory.fetch_add(more, Ordering::Relaxed) + more > MEMORY_ALL {
                memory.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
            self.reserved = want;
            self.buffer.reserve(want.saturating_sub(self.buffer.len()));
        }
        true
    }

    fn release(&mut self) {
        self.shared.memory.fetch_sub(std::mem::take(&mut self.reserved), Ordering::Relaxed);
    }

    async fn write_piece(&mut self) -> Result<(), BodyError> {
        let Some(spill) = &mut self.spill else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        let (file, at) = (spill.file.clone(), spill.written);
        spill.written += piece.len() as u64;
        blocking(move || file.write_at(&piece, at)).await??;
        self.release();
        self.buffer.reserve(PIECE);
        Ok(())
    }

    /// Ready for the writer: in memory, or durable in its own file under its final name.
    pub(crate) async fn finish(mut self) -> Result<Payload, TxError> {
        if let Some(error) = self.broken.take() {
            return Err(match error {
                BodyError::DiskFull => TxError::DiskFull,
                BodyError::Io(error) => TxError::Stopped(format!("a body was not received whole: {error}")),
            });
        }
        match self.settle().await {
            Ok(payload) => Ok(payload),
            Err(BodyError::DiskFull) => Err(TxError::DiskFull),
            Err(BodyError::Io(error)) => {
                self.shared.fail(&format!("writing a body: {error}"));
                Err(TxError::Stopped(error))
            }
        }
    }

    async fn settle(&mut self) -> Result<Payload, BodyError> {
        let (len, crc) = (self.len, self.crc);
        if self.spill.is_none() {
            let octets = std::mem::take(&mut self.buffer).freeze();
            let held = Held { shared: self.shared.clone(), octets: std::mem::take(&mut self.reserved) };
            return Ok(Payload::Memory { octets, crc, _held: held });
        }
        self.write_piece().await?;
        let Some(spill) = self.spill.take() else { return Err(BodyError::Io("no file".to_owned())) };
        if len <= INLINE_MAX as u64 {
            let octets = blocking(move || {
                let mut octets = vec![0; len as usize];
                spill.file.read_exact_at(&mut octets, 0).map(|()| octets)
            })
            .await??;
            let held = Held { shared: self.shared.clone(), octets: 0 };
            return Ok(Payload::Memory { octets: octets.into(), crc, _held: held });
        }
        blocking(move || {
            spill.file.sync_data()?;
            spill.own.settle()?;
            Ok::<_, std::io::Error>(Payload::File { file: spill.own, octets: len, crc })
        })
        .await?
        .map_err(BodyError::from)
    }
}

impl Drop for NewBody {
    fn drop(&mut self) {
        self.release();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BodyError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BodyError::Io(error.to_string()))
}

impl Spill {
    async fn begin(shared: Arc<Shared>) -> Result<Spill, BodyError> {
        blocking(move || {
            if shared.disk_is_full(0) {
                return Err(BodyError::DiskFull);
            }
            let name = shared.new_file_name();
            let path = shared.incoming().join(&name);
            let file = shared.disk.create(&path)?;
            let own =
                OwnFile { name, path: parking_lot::Mutex::new(path), kept: AtomicBool::new(false), shared };
            Ok(Spill { file: Arc::new(file), own: Arc::new(own), written: 0 })
        })
        .await?
    }
}

/// A body's own file, which goes when nothing refers to it.
#[derive(Debug)]
pub(crate) struct OwnFile {
    name: String,
    path: parking_lot::Mutex<PathBuf>,
    /// A row names it: it stays.
    kept: AtomicBool,
    shared: Arc<Shared>,
}

impl OwnFile {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives it its final name, durably.
    fn settle(&self) -> std::io::Result<()> {
        let bodies = self.shared.bodies();
        let to = bodies.join(&self.name);
        let mut path = self.path.lock();
        self.shared.disk.rename(&path, &to)?;
        *path = to;
        self.shared.disk.sync_dir(&bodies)
    }

    pub(crate) fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Release);
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Acquire)
            && let Err(error) = self.shared.disk.remove(&self.path.lock())
        {
            tracing::warn!(file = %self.name, %error, "a body nobody wants stays until the next sweep");
        }
        self.shared.in_flight.lock().remove(&self.name);
    }
}

/// A body on its way through the writer.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Goes into the segment.
    Memory { octets: Bytes, crc: u32, _held: Held },
    /// Is durable already.
    File { file: Arc<OwnFile>, octets: u64, crc: u32 },
}

/// Memory that counts against the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    octets: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.memory.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

impl Payload {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Payload::Memory { octets, .. } => octets.len() as u64,
            Payload::File { octets, .. } => *octets,
        }
    }

    pub(crate) fn crc(&self) -> u32 {
        match self {
            Payload::Memory { crc, .. } | Payload::File { crc, .. } => *crc,
        }
    }

    /// Octets of memory it holds.
    pub(crate) fn held(&self) -> usize {
        match self {
            Payload::Memory { octets, .. } => octets.len(),
            Payload::File { .. } => 0,
        }
    }
}
