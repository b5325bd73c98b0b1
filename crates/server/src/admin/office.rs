//! A command's way to the directory: through the running server, or by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use packetboat_account::Directory;
use packetboat_store::{OpenError, Store};
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::error::{AdminError, ErrorKind};
use super::execute::{Context, Items, execute};
use super::item::Item;
use super::line::{self, Answer};
use super::listen::converse;
use super::request::Request;
use super::transfer::{self, Export, HandIn, Import, Wire};
use crate::accounts;
use crate::local::Envelope;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::trace::{self, Reader};

/// How long a server that has the store, and does not listen yet, is waited for; and how long until the next try.
const START_PATIENCE: Duration = Duration::from_secs(3);
const START_AGAIN: Duration = Duration::from_millis(50);

/// Where requests go.
#[derive(Debug)]
pub struct Office(Way);

#[derive(Debug)]
enum Way {
    /// To the server that runs.
    Server { stream: BufReader<UnixStream>, path: PathBuf },
    /// Nowhere: this process has the store.
    Here(Box<Context>),
}

impl Office {
    /// Connects to the server, or opens the store when none runs.
    ///
    /// Started by root, the process becomes the user whose store it is, so that it leaves no files that the server
    /// cannot open. So call this before there are threads.
    pub async fn open(settings: &Settings) -> Result<Office, AdminError> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match Office::open_now(settings).await {
                // A server that is just starting listens in a moment.
                Err(error) if error.kind == ErrorKind::Unavailable && Instant::now() < deadline => {
                    sleep(START_AGAIN).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_now(settings: &Settings) -> Result<Office, AdminError> {
        let path = settings.admin_socket();
        let connected = UnixStream::connect(&path).await;
        match connected.map_err(|error| (error.kind(), error)) {
            Ok(stream) => return Ok(Office(Way::Server { stream: BufReader::new(stream), path })),
            // Nobody listens: there is no socket, or a server that was killed left it.
            Err((io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, _)) => {}
            Err((io::ErrorKind::PermissionDenied, _)) => return Err(not_permitted(&path)),
            Err((_, error)) => {
                return Err(AdminError::new(ErrorKind::Io, format!("{}: {error}", path.display())));
            }
        }
        accounts::become_owner(settings)?;
        let store = Store::open(accounts::store_options(settings)).map_err(|error| match error {
            OpenError::InUse { pid, .. } => AdminError::new(
                ErrorKind::Unavailable,
                format!(
                    "process {pid} has the store but does not listen at {}; a server that is just starting or stopping \
                     does so in a moment",
                    path.display()
                ),
            ),
            error => error.into(),
        })?;
        let directory = Directory::open(store, accounts::directory_options(settings)).await?;
        let office = accounts::post_office(settings, &directory);
        let trace = Reader { dir: trace::directory(&settings.general.data), recorder: None };
        Ok(Office(Way::Here(Box::new(Context {
            queue: accounts::queue(&office),
            directory,
            office,
            trace,
            running: None,
        }))))
    }

    /// Whether a server answers.
    pub fn is_server(&self) -> bool {
        matches!(self.0, Way::Server { .. })
    }

    /// Has a request carried out, and hands over each item as it comes.
    pub async fn ask(&mut self, request: Request, each: impl FnMut(Item)) -> Result<(), AdminError> {
        match &mut self.0 {
            Way::Server { stream, path } => ask_server(stream, request, each).await.unwrap_or_else(|error| {
                Err(AdminError::new(ErrorKind::Io, format!("{}: {error}", path.display())))
            }),
            Way::Here(context) => ask_here(context, request, each).await,
        }
    }

    /// Begins to bring mail into an account, over a connection of its own.
    pub async fn import(&self, account: &str) -> Result<Import, AdminError> {
        self.turn_over(&Request::Import { account: account.to_owned() }).await.map(Import::new)
    }

    /// Begins to take mail out of an account, over a connection of its own. No mailboxes are all of them.
    pub async fn export(&self, account: &str, mailboxes: Vec<String>) -> Result<Export, AdminError> {
        let request = Request::Export { account: account.to_owned(), mailboxes };
        self.turn_over(&request).await.map(Export::new)
    }

    /// Begins to hand in a message from this machine, over a connection of its own.
    pub async fn hand_in(&self, envelope: Envelope) -> Result<HandIn, AdminError> {
        self.turn_over(&Request::HandIn(Box::new(envelope))).await.map(HandIn::new)
    }

    async fn turn_over(&self, request: &Request) -> Result<Wire, AdminError> {
        let failed = |error: io::Error| AdminError::new(ErrorKind::Io, error.to_string());
        let mut stream = match &self.0 {
            Way::Server { path, .. } => {
                UnixStream::connect(path).await.map_err(|error| transfer::at(path, &error))?
            }
            // The same conversation, with oneself.
            Way::Here(context) => {
                let (ours, theirs) = UnixStream::pair().map_err(failed)?;
                let context = Context::clone(context);
                tokio::spawn(async move {
                    // Nobody tells it to stop.
                    let shutdown = Shutdown::new();
                    let _ = converse(theirs, &context, shutdown.signal()).await;
                });
                ours
            }
        };
        line::write(&mut stream, request).await.map_err(failed)?;
        let mut wire = Wire::new(stream);
        match wire.hear().await.map_err(failed)? {
            Answer::Failed(error) => Err(error),
            Answer::Done | Answer::Item(_) => Ok(wire),
        }
    }

    /// Closes the store, if it is open here.
    pub async fn close(self) {
        if let Way::Here(context) = self.0 {
            context.directory.store().stop().await;
        }
    }
}

async fn ask_server(
    stream: &mut BufReader<UnixStream>,
    request: Request,
    mut each: impl FnMut(Item),
) -> io::Result<Result<(), AdminError>> {
    line::write(stream.get_mut(), &request).await?;
    loop {
        match line::read(stream).await? {
            Some(Answer::Item(item)) => each(item),
            Some(Answer::Done) => return Ok(Ok(())),
            Some(Answer::Failed(error)) => return Ok(Err(error)),
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server hung up before it was done",
                ));
            }
        }
    }
}

async fn ask_here(context: &Context, request: Request, mut each: impl FnMut(Item)) -> Result<(), AdminError> {
    let (sender, mut receiver) = mpsc::channel(1);
    let items = Items(sender);
    let work = async move { execute(request, context, &items).await };
    let show = async move {
        while let Some(item) = receiver.recv().await {
            each(item);
        }
    };
    tokio::join!(work, show).0
}

fn not_permitted(path: &Path) -> AdminError {
    let message =
        format!("{}: not permitted; run the command as the server's user or as root", path.display());
    AdminError::new(ErrorKind::Denied, message)
}
