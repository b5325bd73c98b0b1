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
/// How long the task waits for a small file to come. Longer than the runtime sleeps at a time, as a rule: for what ends before,
/// it would be woken to be told of the new end.
const MOMENT: Duration = Duration::from_secs(2);

/// Whether a job may be one that sends something small.
pub(super) fn may_be_sent(job: &Job) -> bool {
    matches!(job, Job::Send { octets, .. } if *octets <= SMALL as u64)
}

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
            Job::Receive { upload, begin: 0, .. }
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
            Small::Received => tokio::time::timeout(MOMENT, arrive(data)).await.unwrap_or(false),
        }
    }
}

/// Reads until the end, if that comes soon enough.
async fn arrive(data: &mut Data) -> bool {
    // A second handle, for `data` keeps the first.
    let Some(socket) = data.handle().ok().and_then(|socket| TcpStream::from_std(socket).ok()) else {
        return false;
    };
    let mut came = 0;
    while came <= SMALL {
        if socket.readable().await.is_err() {
            return false;
        }
        let mut piece = [0; SMALL];
        match socket.try_read(&mut piece) {
            Ok(0) => {
                data.ends(Ok(()));
                return true;
            }
            Ok(read) => {
                came += read;
                data.keep(piece.get(..read).unwrap_or_default());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // The system tells of an error once, and of an end from then on.
            Err(error) => {
                data.ends(Err(error.kind()));
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::session::ftp::stream::Line;

    #[tokio::test]
    async fn a_connection_that_was_reset_has_not_ended() {
        for reset in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut data = Line::clear(socket).into_data(false);
            client.write_all(b"some").unwrap();
            // Taken from the socket before, so that nothing is left behind which a reset could overtake.
            let half = async {
                let some = data.handle().unwrap();
                let some = tokio::net::TcpStream::from_std(some).unwrap();
                some.readable().await.unwrap();
                let mut piece = [0; 8];
                let read = some.try_read(&mut piece).unwrap();
                piece[..read].to_vec()
            };
            let some = half.await;
            data.keep(&some);
            if reset {
                socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
            drop(client);
            assert!(arrive(&mut data).await);
            let mut came = Vec::new();
            let read = data.read_to_end(&mut came);
            assert_eq!((came.as_slice(), read.is_err()), (&b"some"[..], reset));
        }
    }
}
