//! Takes events and has them written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use packetboat_mail::story::{Event, Sink};

use super::Options;
use super::keep::Files;

/// Events that wait to be written. More are not kept, and counted.
const WAITING_MAX: usize = 8192;
/// Octets written at a time.
const BUFFER: usize = 256 * 1024;
/// How long events are gathered before they are written: a thread that sleeps need not be woken for each.
const GATHER: Duration = Duration::from_millis(50);
/// How often old files are looked for when nothing happens.
const IDLE: Duration = Duration::from_secs(3600);
/// How often it is said that events were lost.
const COMPLAIN: Duration = Duration::from_secs(60);
/// How long is waited for what is being written.
const FLUSH: Duration = Duration::from_secs(5);

enum Job {
    Event(Event),
    /// Say so when all before it is written.
    Flush(SyncSender<()>),
}

/// Keeps events. Ends, and writes what it has, with its last handle.
pub struct Recorder {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Begins to keep events.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or there can be no thread.
    pub fn start(options: Options) -> io::Result<Arc<Recorder>> {
        let files = Files::open(options)?;
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("trace".to_owned()).spawn(move || write(&waiting, files, &counted))?;
        Ok(Arc::new(Recorder { jobs, lost }))
    }

    /// Returns when all that was told until now is in the files, or after a few seconds.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.jobs.send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH);
        }
    }

    /// Events that were not kept, because there were too many at a time or the disk did not take them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Sink for Recorder {
    fn tell(&self, event: Event) {
        if self.jobs.try_send(Job::Event(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(jobs: &Receiver<Job>, mut files: Files, lost: &AtomicU64) {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut said: Option<(Instant, u64)> = None;
    loop {
        let mut next = match jobs.recv_timeout(IDLE) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => {
                files.prune(Timestamp::now());
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut events, mut asked) = (0, Vec::new());
        let mut ended = false;
        while let Some(job) = next.take() {
            match job {
                Job::Event(event) => {
                    events += 1;
                    // What cannot be written as JSON is not made by the post office.
                    if serde_json::to_writer(&mut buffer, &event).is_ok() {
                        buffer.push(b'\n');
                    }
                }
                Job::Flush(done) => asked.push(done),
            }
            if buffer.len() < BUFFER {
                match jobs.try_recv() {
                    Ok(job) => next = Some(job),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => ended = true,
                }
            }
        }
        if let Err(error) = files.append(&buffer, Timestamp::now()) {
            tracing::warn!(%error, "the story of messages cannot be written");
            lost.fetch_add(events, Ordering::Relaxed);
        }
        let full = buffer.len() >= BUFFER;
        buffer.clear();
        let flushed = !asked.is_empty();
        for done in asked {
            let _ = done.send(());
        }
        let now_lost = lost.load(Ordering::Relaxed);
        let due = said.is_none_or(|(at, before)| before < now_lost && at.elapsed() >= COMPLAIN);
        if now_lost > 0 && due {
            tracing::warn!(lost = now_lost, "events of messages' stories were not kept");
            said = Some((Instant::now(), now_lost));
        }
        if ended {
            return;
        }
        if !full && !flushed {
            thread::sleep(GATHER);
        }
    }
}
