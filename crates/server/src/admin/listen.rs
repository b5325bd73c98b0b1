//! The server's end of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::{AdminError, ErrorKind};
use super::execute::{Context, Items, execute};
use super::line::{self, Answer};
use super::request::Request;
use super::transfer;
use crate::listen::listen_local;
use crate::local;
use crate::shutdown::{Phase, ShutdownSignal};

/// The rights of the socket.
const MODE: u32 = 0o600;
/// Commands served at a time; more wait in the system's queue.
const CLIENTS_MAX: usize = 32;
/// Between two requests, and for each line to be taken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Items on their way from a request to its client.
const ITEMS_WAITING: usize = 64;

/// The socket that commands connect to.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Something else has its name.
    #[error("{}: is no socket; remove it, or set listen.admin to another path", .0.display())]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl AdminSocket {
    /// Makes the socket, in place of one that a dead server left. Needs a runtime.
    pub fn bind(path: &Path) -> Result<AdminSocket, SocketError> {
        let failed = |error| SocketError::Io { path: path.to_owned(), error };
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        let listener = listen_local(path, MODE).and_then(UnixListener::from_std).map_err(failed)?;
        Ok(AdminSocket { listener, path: path.to_owned() })
    }

    /// Serves commands until the server stops; requests under way are finished.
    pub async fn serve(self, context: Context, shutdown: ShutdownSignal) {
        let mut clients = JoinSet::new();
        let stopping = shutdown.clone().reached(Phase::Stopping);
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                () = &mut stopping => break,
                accepted = self.listener.accept(), if clients.len() < CLIENTS_MAX => match accepted {
                    Ok((stream, _)) => {
                        clients.spawn(serve_client(stream, context.clone(), shutdown.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin socket accepts nobody");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = clients.join_next() => (),
            }
        }
        // A client that does not take its answer is not waited for longer than any other connection.
        let finished = async { while clients.join_next().await.is_some() {} };
        tokio::select! {
            () = finished => {}
            () = shutdown.reached(Phase::Ending) => {}
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Left behind, it would only be in the way of nobody.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve_client(stream: UnixStream, context: Context, shutdown: ShutdownSignal) {
    if let Err(error) = converse(stream, &context, shutdown).await {
        tracing::debug!(%error, "a command's connection ended");
    }
}

pub(super) async fn converse(
    stream: UnixStream,
    context: &Context,
    shutdown: ShutdownSignal,
) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let (reader, mut writer) = stream.into_split();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        let denied = AdminError::new(ErrorKind::Denied, "only the server's user and root may manage it");
        return line::write(&mut writer, &Answer::Failed(denied)).await;
    }
    let mut reader = BufReader::new(reader);
    loop {
        let request = tokio::select! {
            () = shutdown.clone().reached(Phase::Stopping) => return Ok(()),
            request = timeout(PATIENCE, line::read::<Request>(&mut reader)) => request,
        };
        let last = match request {
            Err(_) | Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(Request::Import { account }))) => match context.mailboxes(&account).await {
                Ok(mailboxes) => {
                    send(&mut writer, &Answer::Done).await?;
                    let wire = transfer::Wire::of(reader, writer);
                    return transfer::serve_import(wire, mailboxes, shutdown).await;
                }
                Err(error) => Answer::Failed(error),
            },
            Ok(Ok(Some(Request::HandIn(envelope)))) => match local::begin(&context.office, &envelope) {
                Ok(intake) => {
                    send(&mut writer, &Answer::Done).await?;
                    let wire = transfer::Wire::of(reader, writer);
                    return transfer::serve_hand_in(wire, intake, *envelope).await;
                }
                Err(refusal) => Answer::Failed(local::refused(&refusal)),
            },
            Ok(Ok(Some(Request::Export { account, mailboxes: only }))) => {
                match context.mailboxes(&account).await {
                    Ok(mailboxes) => {
                        send(&mut writer, &Answer::Done).await?;
                        let wire = transfer::Wire::of(reader, writer);
                        return transfer::serve_export(wire, mailboxes, only, shutdown).await;
                    }
                    Err(error) => Answer::Failed(error),
                }
            }
            Ok(Ok(Some(request))) => match carry_out(request, context, &mut writer).await? {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Failed(error),
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!(
                    "the server does not understand the request; is it of another version? ({error})"
                );
                // What comes after it would not be understood either.
                return send(&mut writer, &Answer::Failed(AdminError::new(ErrorKind::Usage, message))).await;
            }
            Ok(Err(error)) => return Err(error),
        };
        send(&mut writer, &last).await?;
    }
}

/// Carries out a request, each item on its way as soon as there is one.
async fn carry_out(
    request: Request,
    context: &Context,
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<Result<(), AdminError>> {
    let (sender, mut receiver) = mpsc::channel(ITEMS_WAITING);
    let items = Items(sender);
    let work = async move { execute(request, context, &items).await };
    let forward = async move {
        while let Some(item) = receiver.recv().await {
            send(writer, &Answer::Item(item)).await?;
        }
        Ok(())
    };
    // What was begun is finished although its client may be gone.
    let (outcome, forwarded) = tokio::join!(work, forward);
    forwarded.map(|()| outcome)
}

async fn send(writer: &mut (impl tokio::io::AsyncWrite + Unpin), answer: &Answer) -> io::Result<()> {
    timeout(PATIENCE, line::write(writer, answer))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
