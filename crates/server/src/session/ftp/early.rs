//! Small files, moved by the task of the transfer: to hand one to a thread that may block, and its end back, takes longer than
//! to move it.

use std::io::ErrorKind;
use std::time::Duration;

use packetboat_ftp::server::Transfer;
use tokio::net::TcpStream;

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
            // Who keeps to a rate waits in between.
            _ if !data.pace.is_free() => Small::No,
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

    /// Waits a moment for what comes, and keeps it in `data`; whether all of it is there, or nothing has to come. Who
    /// does not wait for the answer may only cut the connection.
    pub(super) async fn is_there(self, data: &mut Data) -> bool {
        match self {
            Small::No => false,
            Small::Sent => true,
            Small::Received => {
                // A second handle: for as long as it is there, neither of the two blocks.
                let handle = data.handle().and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    TcpStream::from_std(socket)
                });
                let Ok(handle) = handle else {
                    let _ = data.handle().and_then(|socket| socket.set_nonblocking(false));
                    return false;
                };
                let arrived = tokio::time::timeout(MOMENT, arrived(&handle, data)).await.unwrap_or(false);
                let blocks = handle.into_std().and_then(|socket| socket.set_nonblocking(false));
                arrived && blocks.is_ok()
            }
        }
    }
}

/// Reads until the end, if that comes soon enough.
async fn arrived(socket: &TcpStream, data: &mut Data) -> bool {
    let mut came = 0;
    while came <= SMALL {
        if socket.readable().await.is_err() {
            return false;
        }
        let mut piece = [0; SMALL];
        match socket.try_read(&mut piece) {
            // The end has come, and stays there for whoever reads next.
            Ok(0) => return true,
            Ok(read) => {
                came += read;
                data.keep(piece.get(..read).unwrap_or_default());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
    }
    false
}
