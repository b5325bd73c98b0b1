//! Small files, moved by the task of the transfer: to hand one to a thread that may block, and its end back, takes longer than
//! to move it.

use std::time::Duration;

use packetboat_ftp::server::Transfer;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::pipe;
use super::stream::Data;
use super::transfer::Job;

/// Octets of a small file. A socket has room for so many from its beginning, so that sending them does not wait.
const SMALL: usize = 8 * 1024;
/// How long the task waits for a small file to come.
const MOMENT: Duration = Duration::from_millis(20);

/// What a job may find to be so small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Small {
    /// Nothing.
    No,
    /// What it sends.
    Sent,
    /// What it receives, perhaps.
    Received,
}

impl Small {
    pub(super) fn of(job: &Job, data: &Data, transfer: &Transfer) -> Small {
        match job {
            Job::Send { file, octets }
                if *octets <= SMALL as u64 && pipe::is_moved_as_it_is(file, transfer) =>
            {
                Small::Sent
            }
            Job::Receive { upload, begin: 0 }
                if transfer.representation.is_plain()
                    && !transfer.deflate
                    && !data.is_protected()
                    && upload.ends_at_once() =>
            {
                Small::Received
            }
            _ => Small::No,
        }
    }

    /// Waits a moment for what comes, and keeps it in `data`; whether all of it is there, or nothing has to come. Cancel safe.
    pub(super) async fn is_there(self, data: &mut Data) -> bool {
        match self {
            Small::No => false,
            Small::Sent => true,
            Small::Received => tokio::time::timeout(MOMENT, arrived(data)).await.unwrap_or(false),
        }
    }
}

async fn arrived(data: &mut Data) -> bool {
    let Some(socket) = data.handle().ok() else { return false };
    let Ok(socket) = AsyncFd::with_interest(socket, Interest::READABLE) else { return false };
    let mut came = 0;
    while came <= SMALL {
        let Ok(mut ready) = socket.readable().await else { return false };
        let mut piece = [0; SMALL];
        match recv(socket.get_ref(), &mut piece[..], RecvFlags::DONTWAIT) {
            // The end has come, and stays there for whoever reads next.
            Ok((0, _)) => return true,
            Ok((read, _)) => {
                came += read;
                data.keep(piece.get(..read).unwrap_or_default());
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    false
}
