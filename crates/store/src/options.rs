//! How a store is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time comes from: microseconds since 1970-01-01T00:00:00Z.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a store is opened. `Options::new(dir)` gives sensible values to all the rest.
#[derive(Clone)]
pub struct Options {
    /// The directory that holds everything; made when it is not there.
    pub dir: PathBuf,
    /// Free octets the disk must keep; below, what would grow the store is refused with
    /// [`crate::TxError::DiskFull`], while removing still works.
    pub disk_floor: u64,
    /// A new segment begins when the last one has reached this many octets.
    pub segment_octets: u64,
    /// How long a body nobody has any more stays on disk. Longer than anyone holds a listing.
    pub grace: Duration,
    /// Whether the database is synced with every group, too. The log alone is enough: what the database lacks after a
    /// power cut is carried out again from it. Costs a second flush per group.
    pub sync_database: bool,
    /// In which way texts are decoded and folded whose grams go into the search filter. What the filter remembers of
    /// texts decoded another way is forgotten, for it would rule out what is found now.
    pub folding: u16,
    /// Where the time comes from.
    pub clock: Clock,
    /// Whether a background thread reaps and compacts; tests call [`crate::Store::maintain`] instead.
    pub maintenance: bool,
}

impl Options {
    /// The usual options.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            disk_floor: 256 << 20,
            segment_octets: 64 << 20,
            grace: Duration::from_secs(24 * 3600),
            sync_database: false,
            folding: 0,
            clock: Arc::new(system_clock),
            maintenance: true,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("disk_floor", &self.disk_floor)
            .field("segment_octets", &self.segment_octets)
            .field("grace", &self.grace)
            .field("maintenance", &self.maintenance)
            .finish_non_exhaustive()
    }
}

fn system_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
