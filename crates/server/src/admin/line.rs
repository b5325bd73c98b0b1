//! Lines on the socket.

use std::io;

use packetboat_wire::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use super::LINE_MAX;
use super::error::AdminError;
use super::item::Item;

/// What the server says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// One thing; more may follow.
    Item(Item),
    /// All is done and told.
    Done,
    /// It is not done.
    Failed(AdminError),
}

/// Reads a line as a value; nothing when the other side is gone.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> io::Result<Option<T>> {
    // It may hold a password.
    let mut line = Secret::new(Vec::new());
    loop {
        let buffer = from.fill_buf().await?;
        if buffer.is_empty() {
            return match line.expose().is_empty() {
                true => Ok(None),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let end = buffer.iter().position(|octet| *octet == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        if line.expose().len() + piece.len() > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
        }
        line = Secret::new([line.expose().as_slice(), piece].concat());
        let used = piece.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            let value = serde_json::from_slice(line.expose());
            return value.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
}

/// Writes a value as a line.
pub(super) async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> io::Result<()> {
    let mut line = Secret::new(serde_json::to_vec(value)?);
    line = Secret::new([line.expose().as_slice(), b"\n"].concat());
    to.write_all(line.expose()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::admin::{Request, ServerRequest};

    async fn all(mut text: &[u8]) -> Vec<io::Result<Option<Request>>> {
        let mut read_so_far = Vec::new();
        loop {
            let next = read::<Request>(&mut text).await;
            let more = matches!(next, Ok(Some(_)));
            read_so_far.push(next);
            if !more {
                return read_so_far;
            }
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut text = Vec::new();
        let requests = [Request::Server(ServerRequest::Stop), Request::Server(ServerRequest::Reload)];
        for request in &requests {
            write(&mut text, request).await.unwrap();
        }
        assert_eq!(text, b"{\"server\":\"stop\"}\n{\"server\":\"reload\"}\n");
        let back: Vec<_> = all(&text).await.into_iter().map(Result::unwrap).collect();
        let [stop, reload] = requests;
        assert_eq!(back, [Some(stop), Some(reload), None]);
    }

    #[tokio::test]
    async fn a_broken_line_is_an_error() {
        let long = vec![b' '; LINE_MAX + 1];
        for text in [&b"{\"server\":\"stop\"}"[..], b"{\"server\":\"explode\"}\n", b"\n", b"\xff\n", &long] {
            assert!(matches!(all(text).await.as_slice(), [Err(_)]), "{:?}", &text[..text.len().min(20)]);
        }
    }
}
