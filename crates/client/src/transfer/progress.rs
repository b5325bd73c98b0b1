//! How far a long move has got, for a person at a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar on standard error for so many messages, if it is wanted and that is a terminal.
    pub fn new(wanted: bool) -> Progress {
        if !wanted {
            return Progress(None);
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = "{msg:20!} {bar:28} {human_pos} of {human_len}, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress(Some(bar))
    }

    /// A mailbox begins.
    pub fn mailbox(&self, name: &str, messages: u64) {
        if let Some(bar) = &self.0 {
            bar.reset();
            bar.set_length(messages);
            bar.set_message(name.to_owned());
        }
    }

    /// Messages are done.
    pub fn advance(&self, messages: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(messages);
        }
    }

    /// Prints a line without disturbing the bar.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
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
