//! The log: append-only segment files of records. Only the writer appends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::disk::{Disk, DiskFile};
use super::record::{HEAD, Head, SEGMENT_HEAD, read_segment_head, segment_head};

/// Octets a second; a segment that fills faster is written in haste.
const HASTE: u64 = 32 << 20;
/// What is forgotten at a time.
const FORGOTTEN: u64 = 1 << 20;
/// So many segments are kept open for reading.
const OPEN_MAX: usize = 256;

/// The path of a segment.
pub(crate) fn path_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}.seg"))
}

/// The numbers of all segments in a directory, ascending.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".seg")?.parse().ok());
        ids.extend(id);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The appending end.
#[derive(Debug)]
pub(crate) struct Appender {
    dir: PathBuf,
    disk: Disk,
    store: u64,
    current: Option<DiskFile>,
    /// Number of the segment that is appended to; 0 when there is none yet.
    pub(crate) segment: u64,
    /// Where its next record begins.
    pub(crate) tail: u64,
    /// Octets were written since the last sync.
    unsynced: bool,
    /// When the current segment was begun here.
    begun: Option<Instant>,
    behind: Option<Behind>,
}

/// The segment before the current one, which was written in haste. As the current one grows, the system is told to forget
/// that one: a flood of mail else pushes out of memory whatever is there, and pays for each new page what a page that
/// becomes free spares. The last of it stays, as much as a segment holds.
#[derive(Debug)]
struct Behind {
    file: DiskFile,
    forgotten: u64,
}

impl Behind {
    /// What is to be forgotten, now that the current segment is so long.
    fn next(&mut self, tail: u64) -> Option<Range<u64>> {
        let upto = tail / FORGOTTEN * FORGOTTEN;
        (upto > self.forgotten).then(|| std::mem::replace(&mut self.forgotten, upto)..upto)
    }
}

/// Whether so many octets in this time are a flood.
fn is_haste(octets: u64, took: Duration) -> bool {
    u128::from(octets) * 1000 > u128::from(HASTE) * took.as_millis()
}

impl Appender {
    pub(crate) fn new(dir: PathBuf, disk: Disk, store: u64) -> Appender {
        Appender {
            dir,
            disk,
            store,
            current: None,
            segment: 0,
            tail: 0,
            unsynced: false,
            begun: None,
            behind: None,
        }
    }

    /// Goes on in a segment that exists.
    pub(crate) fn resume(&mut self, id: u64, tail: u64) -> io::Result<()> {
        self.current = Some(self.disk.open(&path_of(&self.dir, id))?);
        (self.segment, self.tail) = (id, tail);
        Ok(())
    }

    /// Begins a new segment, durably.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.sync()?;
        let id = self.segment + 1;
        let path = path_of(&self.dir, id);
        let file = self.disk.create(&path)?;
        let head = segment_head(id, self.store);
        let done = file.write_at(&head, 0).and_then(|()| file.sync_data());
        if let Err(error) = done.and_then(|()| self.disk.sync_dir(&self.dir)) {
            self.disk.remove(&path)?;
            return Err(error);
        }
        let hasty = self.begun.is_some_and(|begun| is_haste(self.tail, begun.elapsed()));
        let full = self.current.replace(file).filter(|_| hasty);
        self.behind = full.map(|file| Behind { file, forgotten: 0 });
        self.begun = Some(Instant::now());
        (self.segment, self.tail) = (id, SEGMENT_HEAD as u64);
        Ok(())
    }

    /// Writes at the tail, which stays where it is until the caller's commit moves it.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let file = self.current.as_ref().ok_or_else(|| io::Error::other("no segment"))?;
        self.unsynced = true;
        file.write_at(data, self.tail)?;
        if let Some(behind) = &mut self.behind
            && let Some(octets) = behind.next(self.tail)
        {
            behind.file.forget(&octets);
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.unsynced, &self.current) {
            file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Takes back what was written behind the tail, durably.
    pub(crate) fn cut(&mut self) -> io::Result<()> {
        let file = self.current.as_ref().ok_or_else(|| io::Error::other("no segment"))?;
        if file.len()? > self.tail {
            file.set_len(self.tail)?;
            file.sync_data()?;
        }
        Ok(())
    }
}

/// Segments open for reading.
#[derive(Debug)]
pub(crate) struct Reading {
    dir: PathBuf,
    open: Mutex<HashMap<u64, Arc<File>>>,
}

impl Reading {
    pub(crate) fn new(dir: PathBuf) -> Reading {
        Reading { dir, open: Mutex::new(HashMap::new()) }
    }

    /// Who holds the file can read it to the end, even when the segment is removed meanwhile.
    pub(crate) fn get(&self, id: u64) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.lock().get(&id) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(path_of(&self.dir, id))?);
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX {
            let some = open.keys().next().copied();
            some.map(|some| open.remove(&some));
        }
        open.insert(id, file.clone());
        Ok(file)
    }
}

impl Reading {
    /// It is about to be removed.
    pub(crate) fn forget(&self, id: u64) {
        self.open.lock().remove(&id);
    }
}

/// A record found by reading a segment.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where its head begins.
    pub(crate) offset: u64,
    pub(crate) head: Head,
    pub(crate) meta: Vec<u8>,
}

impl Found {
    /// Where the body's octets begin.
    pub(crate) fn body_offset(&self) -> u64 {
        self.offset + HEAD as u64 + u64::from(self.head.meta_len)
    }

    /// Where the next record begins.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.head.record_len()
    }
}

/// Reads a segment from the front.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: File,
    len: u64,
    buffer: Vec<u8>,
}

impl Scanner {
    pub(crate) fn open(path: &Path) -> io::Result<Scanner> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Scanner { file, len, buffer: Vec::new() })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The segment's number and its store's, when its head is whole.
    pub(crate) fn head(&self) -> io::Result<Option<(u64, u64)>> {
        let mut head = [0; SEGMENT_HEAD];
        Ok(if self.exact(&mut head, 0)? { read_segment_head(&head) } else { None })
    }

    fn exact(&self, buf: &mut [u8], offset: u64) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        match self.file.read_exact_at(buf, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The whole record at `offset`; its body is checked, too, when `deep`.
    pub(crate) fn record(&mut self, offset: u64, deep: bool) -> io::Result<Option<Found>> {
        let mut octets = [0; HEAD];
        if !self.exact(&mut octets, offset)? {
            return Ok(None);
        }
        let Some(head) = Head::decode(&octets) else { return Ok(None) };
        let rest = self.len.saturating_sub(offset);
        if head.record_len() > rest {
            return Ok(None);
        }
        let mut meta = vec![0; head.meta_len as usize];
        if !self.exact(&mut meta, offset + HEAD as u64)? || !Head::verify(&octets, &meta) {
            return Ok(None);
        }
        let found = Found { offset, head, meta };
        if deep && !self.body_is_whole(&found)? {
            return Ok(None);
        }
        Ok(Some(found))
    }

    /// Whether an inline body matches its checksum.
    pub(crate) fn body_is_whole(&mut self, found: &Found) -> io::Result<bool> {
        let (mut at, end) = (found.body_offset(), found.end());
        let mut crc = 0;
        self.buffer.resize(256 << 10, 0);
        let mut buffer = std::mem::take(&mut self.buffer);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let Some(piece) = buffer.get_mut(..len) else { break };
            if !self.exact(piece, at)? {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, piece);
            at += len as u64;
        }
        self.buffer = buffer;
        Ok(found.head.file || crc == found.head.body_crc)
    }

    /// Copies what stands from `offset` on.
    pub(crate) fn copy_rest(&mut self, offset: u64, to: &Path) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        self.file.seek(SeekFrom::Start(offset))?;
        io::copy(&mut self.file, &mut File::create(to)?)?;
        Ok(())
    }

    /// The next whole record at or behind `offset`, wherever it begins: for logs with holes.
    pub(crate) fn search(&mut self, mut offset: u64, deep: bool) -> io::Result<Option<Found>> {
        const STEP: usize = 256 << 10;
        while offset + (HEAD as u64) <= self.len {
            if let Some(found) = self.record(offset, deep)? {
                return Ok(Some(found));
            }
            // The next place where a record's magic stands.
            let mut buffer = vec![0; STEP.min(usize::try_from(self.len - offset).unwrap_or(STEP))];
            self.exact(&mut buffer, offset)?;
            let next = buffer.windows(4).skip(1).position(|window| window == b"PBr\x01");
            offset += match next {
                Some(at) => at as u64 + 1,
                None => (buffer.len() as u64).saturating_sub(3).max(1),
            };
        }
        Ok(None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::IoSliceMut;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn a_flood_is_told_from_a_day() {
        assert!(is_haste(64 << 20, Duration::from_millis(1999)));
        assert!(!is_haste(64 << 20, Duration::from_secs(2)));
        assert!(!is_haste(0, Duration::ZERO));
    }

    /// Whether the octet at this place can be had without the disk; `None` where the file system cannot tell.
    fn is_in_memory(path: &Path, at: u64) -> Option<bool> {
        let file = File::open(path).unwrap();
        let mut octet = [0];
        let read = rustix::io::preadv2(
            &file,
            &mut [IoSliceMut::new(&mut octet)],
            at,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(_) => Some(true),
            Err(rustix::io::Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    #[test]
    fn of_a_flood_the_last_segment_stays_in_memory() {
        // A disk, where the system's temporary directory may be memory.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut log = Appender::new(dir.path().to_owned(), Disk::default(), 7);
        let flood = vec![1; 4 << 20];
        for _ in 0..3 {
            // No time has passed since the one before, however slow the disk is.
            log.begun = log.begun.map(|_| Instant::now() + Duration::from_secs(3600));
            log.begin().unwrap();
            log.write(&flood).unwrap();
            log.tail += flood.len() as u64;
            log.sync().unwrap();
        }
        log.write(b"more").unwrap();
        let [first, second, third] = [1, 2, 3].map(|id| path_of(dir.path(), id));
        let memory = |path: &Path| is_in_memory(path, 1 << 20);
        assert!(memory(&third).unwrap_or(true));
        assert_eq!(log.behind.as_ref().map(|behind| behind.forgotten), Some(4 << 20));
        if memory(&third).is_some() {
            assert_eq!(memory(&first), Some(true));
            // The system keeps what somebody holds at that very moment: it is told again.
            let behind = log.behind.as_ref().unwrap();
            let goes = (0..400).any(|_| {
                let gone = memory(&second) == Some(false);
                if !gone {
                    std::thread::sleep(Duration::from_millis(25));
                    behind.file.forget(&(0..4 << 20));
                }
                gone
            });
            assert!(goes);
        }
        // What is forgotten is not lost.
        let mut octets = vec![0; flood.len()];
        File::open(&second).unwrap().read_exact_at(&mut octets, SEGMENT_HEAD as u64).unwrap();
        assert!(octets == flood);
        // Who takes longer keeps what is there.
        log.begun = Instant::now().checked_sub(Duration::from_secs(3600));
        log.begin().unwrap();
        assert!(log.behind.is_none());
    }
}
