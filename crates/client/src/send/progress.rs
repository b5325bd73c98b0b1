//! How far a long message has got, for a person at a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Messages shorter than this are gone before anyone could read a bar.
const LENGTH_MIN: u64 = 512 * 1024;

/// A bar, or nothing.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn new(len: u64, wanted: bool) -> Progress {
        if !wanted || len < LENGTH_MIN {
            return Progress(None);
        }
        // It draws on standard error, and only if that is a terminal.
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
        let style = "{bar:32} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    pub(crate) fn advance(&self, octets: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(octets);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
