//! The log: one line per connection and delivery on standard error, for people or for programs.
//!
//! Formatting happens in the thread that logs; writing in a thread of its own, behind a bounded queue. When whoever
//! reads the log cannot keep up, lines are dropped and their number is said, but no session waits.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use crate::settings::{Log, LogFormat};

/// Overrides the level of the settings.
pub const LEVEL_VARIABLE: &str = "PACKETBOAT_LOG";

/// Lines that may wait to be written; about 2 MB.
const QUEUE_LINES: usize = 8192;

/// The writer joins lines up to this size into one system call.
const WRITE_OCTETS: usize = 64 * 1024;

/// The running log. Dropping it writes what waits.
pub struct LogHandle {
    level: reload::Handle<Targets, Registry>,
    queue: SyncSender<Entry>,
    writer: Option<JoinHandle<()>>,
}

enum Entry {
    Line(Vec<u8>),
    Stop,
}

/// Starts the log for the whole process, and sends panics to it. Only once.
pub fn start(settings: &Log) -> Result<LogHandle, TryInitError> {
    let (queue, lines) = sync_channel(QUEUE_LINES);
    let dropped = Arc::new(AtomicU64::new(0));
    let make = QueueWriter { queue: queue.clone(), dropped: Arc::clone(&dropped) };
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines, &dropped, &mut io::stderr()))
        .ok();

    let (filter, level) = reload::Layer::new(targets(settings));
    let layer = match settings.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(make)
            .with_filter(filter)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_writer(make)
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry().with(layer).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, what, "panic: a defect in packetboat");
    }));
    Ok(LogHandle { level, queue, writer })
}

impl LogHandle {
    /// From now on, the level these settings ask for.
    pub fn set_level(&self, settings: &Log) {
        // Fails only when the subscriber is gone, and then nobody logs.
        let _ = self.level.reload(targets(settings));
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        let stopped = self.queue.send(Entry::Stop).is_ok();
        if let (true, Some(writer)) = (stopped, self.writer.take()) {
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").finish_non_exhaustive()
    }
}

fn targets(settings: &Log) -> Targets {
    let wanted = std::env::var(LEVEL_VARIABLE).ok().and_then(|level| level.parse().ok());
    // The settings' level has been checked; "info" stands in for what cannot happen.
    wanted
        .or_else(|| settings.level.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

#[derive(Clone)]
struct QueueWriter {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// Collects one line, and queues it when it is complete.
struct LineWriter<'a> {
    line: Vec<u8>,
    to: &'a QueueWriter,
}

impl<'a> MakeWriter<'a> for QueueWriter {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { line: Vec::new(), to: self }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Err(TrySendError::Full(_)) = self.to.queue.try_send(Entry::Line(line)) {
            self.to.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<Entry>, dropped: &AtomicU64, to: &mut impl Write) {
    let mut text = Vec::new();
    let mut stop = false;
    while !stop {
        match lines.recv() {
            Ok(Entry::Line(line)) => text.extend_from_slice(&line),
            Ok(Entry::Stop) | Err(_) => stop = true,
        }
        while text.len() < WRITE_OCTETS && !stop {
            match lines.try_recv() {
                Ok(Entry::Line(line)) => text.extend_from_slice(&line),
                Ok(Entry::Stop) => stop = true,
                Err(_) => break,
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(text, "{lost} log lines were dropped: whoever reads the log is too slow");
        }
        // A log that cannot be written is no reason to stop serving, and there is nowhere to say so.
        let _ = to.write_all(&text);
        text.clear();
        text.shrink_to(WRITE_OCTETS);
    }
    let _ = to.flush();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_full_queue_drops_and_says_so() {
        let (queue, lines) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = QueueWriter { queue: queue.clone(), dropped: Arc::clone(&dropped) };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            write!(writer.make_writer(), "{line}").unwrap();
        }
        drop((writer, queue));
        let mut text = Vec::new();
        write_lines(&lines, &dropped, &mut text);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "one\ntwo\n2 log lines were dropped: whoever reads the log is too slow\n");
    }

    #[test]
    fn stopping_writes_what_waits() {
        let (queue, lines) = sync_channel(8);
        for line in ["one\n", "two\n"] {
            queue.try_send(Entry::Line(line.into())).unwrap_or_else(|_| panic!("full"));
        }
        queue.try_send(Entry::Stop).unwrap_or_else(|_| panic!("full"));
        let mut text = Vec::new();
        write_lines(&lines, &AtomicU64::new(0), &mut text);
        assert_eq!(text, b"one\ntwo\n");
    }
}
