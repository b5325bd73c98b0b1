//! The end of a data connection of which our half is closed: what the other side still sends is heard and thrown away, so that
//! no reset overtakes what was said. Closing a socket with something unread, such as a farewell of TLS, resets the connection.
//!
//! That takes as long as the other side likes, within bounds, so no thread waits for it; and there are only so many at a time.

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::seats::Seats;

/// Octets that are thrown away at a time.
const PIECE: usize = 16 * 1024;

/// Those that are heard out now, of all sessions, by how patiently.
static HEARD: LazyLock<Arc<Seats>> = LazyLock::new(Arc::default);

/// What the other side may still send, and for how long, after our half of a connection is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    name: &'static str,
    octets: u64,
    time: Duration,
    /// Connections at a time; one more is closed at once.
    most: u32,
    /// Of these, with one address.
    most_there: u32,
}

impl Patience {
    /// It has to say farewell.
    pub(super) const FAREWELL: Patience = Patience {
        name: "farewell",
        octets: 4 << 20,
        time: Duration::from_secs(5),
        most: 4096,
        most_there: 512,
    };
    /// It is in the middle of a file that was refused, and will look for the reply when it has sent that.
    pub(super) const REFUSAL: Patience = Patience {
        name: "refusal",
        octets: 256 << 20,
        time: Duration::from_secs(30),
        most: 256,
        most_there: 16,
    };
}

/// Waits for the end of what the other side sends.
pub(super) async fn hear_out(socket: TcpStream, patience: Patience) {
    let Patience { name, octets, time, most, most_there } = patience;
    let address = socket.peer_addr().ok().map(|address| address.ip());
    let Some(_seat) = HEARD.take(name, address, Some(most), Some(most_there)) else { return };
    // An end, a reset and a line that is too slow are all the same here.
    let _ = tokio::time::timeout(time, discard(socket, octets)).await;
}

async fn discard(socket: TcpStream, octets: u64) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpStream::from_std(socket)?;
    let mut heard = 0;
    while heard < octets {
        socket.readable().await?;
        match read_away(&socket) {
            Ok(0) => break,
            Ok(octets) => heard += octets as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a piece. It is not in the future, which is small while it waits.
fn read_away(socket: &tokio::net::TcpStream) -> io::Result<usize> {
    socket.try_read(&mut [0; PIECE])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// Of an address of its own, because tests run at the same time.
    fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.shutdown(Shutdown::Write).unwrap();
        (client, socket)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_sent_on_is_heard_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut client, socket) = connected(&listener);
        let heard = tokio::spawn(hear_out(socket, Patience { name: "whole", ..Patience::REFUSAL }));
        let sent = tokio::task::spawn_blocking(move || {
            client.write_all(&vec![1; 8 << 20]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client.read(&mut [0; 1]).unwrap()
        });
        assert_eq!(sent.await.unwrap(), 0, "an end, and no reset");
        heard.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn there_are_only_so_many_of_an_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let patience = Patience {
            name: "few",
            time: Duration::from_secs(600),
            most: 9,
            most_there: 2,
            ..Patience::REFUSAL
        };
        let (mut kept, mut heard) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let (client, socket) = connected(&listener);
            kept.push(client);
            heard.push(tokio::spawn(hear_out(socket, patience)));
        }
        let over = async |heard: &mut Vec<tokio::task::JoinHandle<()>>, most: usize| {
            while heard.len() > most {
                heard.retain(|one| !one.is_finished());
                tokio::task::yield_now().await;
            }
        };
        // Three of them had no seat, and their connections are closed.
        over(&mut heard, 2).await;
        drop(kept);
        over(&mut heard, 0).await;
        // And the seats are free again.
        let (mut client, socket) = connected(&listener);
        let heard = tokio::spawn(hear_out(socket, patience));
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        assert!(!heard.is_finished());
        drop(client);
        heard.await.unwrap();
    }
}
