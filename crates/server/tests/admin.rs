//! The admin socket, asked over a real one.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use packetboat_account::{Directory, Quota, Service};
use packetboat_server::accounts;
use packetboat_server::admin::{
    Account, AccountRequest, AdminError, AdminSocket, Connection, Context, DomainRequest, ErrorKind, Guests,
    Item, LINE_MAX, NewPassword, Office, Password, Request, Running, ServerRequest, SocketError,
};
use packetboat_server::settings::Settings;
use packetboat_server::shutdown::{Phase, Shutdown};
use packetboat_server::trace;
use packetboat_store::Store;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// A server that does nothing else.
#[derive(Debug, Default)]
struct Idle {
    done: Mutex<Vec<&'static str>>,
}

impl Running for Idle {
    fn connections(&self) -> Vec<Connection> {
        let connection = Connection {
            connection: 7,
            service: "pop3".into(),
            peer: Some([127, 0, 0, 1].into()),
            login: Some("alice@example.org".into()),
            since: jiff::Timestamp::UNIX_EPOCH,
            files: None,
        };
        vec![connection; 3]
    }

    fn disconnect(&self, which: &Guests) -> Vec<Connection> {
        match which {
            Guests::Connection(7) => self.connections().into_iter().take(1).collect(),
            _ => Vec::new(),
        }
    }

    fn metrics(&self) -> String {
        "a 1\nb 2\n".into()
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        self.done.lock().push("reload");
        Box::pin(async { Err("packetboat.toml:3:1: nonsense".into()) })
    }

    fn stop(&self) {
        self.done.lock().push("stop");
    }
}

struct Server {
    settings: Settings,
    idle: Arc<Idle>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path().join("data"));
        let store = Store::open(accounts::store_options(&settings)).unwrap();
        let directory = Directory::open(store, accounts::directory_options(&settings)).await.unwrap();
        let idle = Arc::new(Idle::default());
        let socket = AdminSocket::bind(&settings.admin_socket()).unwrap();
        let shutdown = Shutdown::new();
        let office = accounts::post_office(&settings, &directory);
        let trace = trace::Reader { dir: trace::directory(&settings.general.data), recorder: None };
        let context = Context {
            queue: packetboat_server::accounts::queue(&office),
            directory,
            office,
            trace,
            running: Some(idle.clone()),
        };
        let serving = tokio::spawn(socket.serve(context, shutdown.signal()));
        Server { settings, idle, shutdown, serving, _dir: dir }
    }

    async fn stop(self) -> tempfile::TempDir {
        self.shutdown.enter(Phase::Stopping);
        self.serving.await.unwrap();
        self._dir
    }
}

fn settings(data: PathBuf) -> Settings {
    let mut settings = Settings::default();
    settings.general.data = data;
    settings.auth.hash_memory.0 = 8 << 10;
    settings.auth.hash_passes = 1;
    settings
}

async fn ask(office: &mut Office, request: Request) -> Result<Vec<Item>, AdminError> {
    let mut items = Vec::new();
    office.ask(request, |item| items.push(item)).await.map(|()| items)
}

fn add_domain(domain: &str) -> Request {
    Request::Domain(DomainRequest::Add { domain: domain.into() })
}

fn add_account(login: &str) -> Request {
    Request::Account(AccountRequest::Add {
        login: login.into(),
        aliases: Vec::new(),
        name: None,
        password: Some(NewPassword::Plain(Password("secret".into()))),
        quota: Quota::default(),
    })
}

/// Each request is answered in the same way by a running server and by the command itself.
async fn manage(office: &mut Office) {
    let account = |request| Request::Account(request);
    let alice = || "alice@example.org".to_owned();
    assert_eq!(ask(office, add_account("alice@example.org")).await.unwrap_err().kind, ErrorKind::NoDomain);
    let added = ask(office, add_domain("Example.ORG")).await.unwrap();
    assert!(matches!(&added[..], [Item::Domain(domain)] if domain.domain == "example.org"), "{added:?}");
    assert_eq!(ask(office, add_domain("example.org")).await.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(ask(office, add_domain("a b")).await.unwrap_err().kind, ErrorKind::Data);

    let added = ask(office, add_account("alice")).await.unwrap();
    let [Item::Account(shown)] = &added[..] else { panic!("{added:?}") };
    assert_eq!((shown.login.as_str(), shown.id, shown.password), ("alice@example.org", 1, true));
    assert_eq!(ask(office, add_account("alice@example.org")).await.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(ask(office, add_account("alice@")).await.unwrap_err().kind, ErrorKind::Data);

    type Check = fn(&Account) -> bool;
    let changes: [(AccountRequest, Check); 9] = [
        (AccountRequest::AddAddress { account: alice(), address: "a@example.org".into() }, |it| {
            it.addresses.len() == 2
        }),
        (AccountRequest::RemoveAddress { account: alice(), address: "a@example.org".into() }, |it| {
            it.addresses.len() == 1
        }),
        (AccountRequest::Disable { account: alice(), disabled: true }, |it| it.disabled),
        (AccountRequest::Disable { account: alice(), disabled: false }, |it| !it.disabled),
        (
            AccountRequest::Quota { account: alice(), quota: Quota { octets: Some(5), messages: Some(6) } },
            |it| it.octets.limit == Some(5) && it.messages.limit == Some(6),
        ),
        (AccountRequest::Name { account: alice(), name: Some("Alice".into()) }, |it| {
            it.name.as_deref() == Some("Alice")
        }),
        (AccountRequest::ApopSecret { account: alice(), secret: Some(Password("x".into())) }, |it| it.apop),
        (AccountRequest::ApopSecret { account: alice(), secret: None }, |it| !it.apop),
        (
            AccountRequest::Password {
                account: alice(),
                password: NewPassword::Plain(Password("new".into())),
            },
            |it| it.password,
        ),
    ];
    for (request, check) in changes {
        let shown = ask(office, account(request.clone())).await.unwrap();
        assert!(matches!(&shown[..], [Item::Account(shown)] if check(shown)), "{request:?}: {shown:?}");
    }

    let services = Some([Service::Imap].into());
    let phone = AccountRequest::AddAppPassword { account: alice(), name: "phone".into(), services };
    let made = ask(office, account(phone)).await.unwrap();
    assert!(matches!(&made[..], [Item::Secret(secret)] if secret.password.0.expose().len() == 23));
    let listed = ask(office, account(AccountRequest::AppPasswords { account: alice() })).await.unwrap();
    assert!(matches!(&listed[..], [Item::AppPassword(app)] if app.info.name == "phone"));
    let revoke = AccountRequest::RevokeAppPassword { account: alice(), name: "phone".into() };
    ask(office, account(revoke.clone())).await.unwrap();
    assert_eq!(ask(office, account(revoke)).await.unwrap_err().kind, ErrorKind::NoUser);
    let apop = ask(office, account(AccountRequest::GenerateApopSecret { account: alice() })).await.unwrap();
    assert!(matches!(&apop[..], [Item::Secret(secret)] if secret.name.is_none()));

    ask(office, add_domain("example.net")).await.unwrap();
    for n in 0..40 {
        ask(office, add_account(&format!("user{n}@example.net"))).await.unwrap();
    }
    for (domain, count) in [(None, 41), (Some("example.net"), 40), (Some("example.org"), 1)] {
        let list = AccountRequest::List { domain: domain.map(str::to_owned) };
        assert_eq!(ask(office, account(list)).await.unwrap().len(), count);
    }
    let unknown = AccountRequest::List { domain: Some("example.com".into()) };
    assert_eq!(ask(office, account(unknown)).await.unwrap_err().kind, ErrorKind::NoDomain);
    let domains = ask(office, Request::Domain(DomainRequest::List)).await.unwrap();
    let [Item::Domain(net), Item::Domain(org)] = &domains[..] else { panic!("{domains:?}") };
    assert_eq!(net.postmaster.as_deref(), Some("user0@example.net"));
    assert_eq!(org.postmaster.as_deref(), Some("alice@example.org"));
    let postmaster = DomainRequest::Postmaster { domain: "example.net".into(), account: alice() };
    ask(office, Request::Domain(postmaster)).await.unwrap();

    let remove_domain = || Request::Domain(DomainRequest::Remove { domain: "example.org".into() });
    assert_eq!(ask(office, remove_domain()).await.unwrap_err().kind, ErrorKind::Exists);
    ask(office, account(AccountRequest::Remove { account: alice() })).await.unwrap();
    let gone = ask(office, account(AccountRequest::Show { account: alice() })).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NoUser);
    ask(office, remove_domain()).await.unwrap();
}

#[tokio::test]
async fn a_command_manages_a_running_server() {
    let server = Server::start().await;
    let mut office = Office::open(&server.settings).await.unwrap();
    assert!(office.is_server());
    manage(&mut office).await;
    server.stop().await;
}

#[tokio::test]
async fn a_command_manages_the_store_when_no_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path().join("data"));
    let mut office = Office::open(&settings).await.unwrap();
    assert!(!office.is_server());
    manage(&mut office).await;
    let error = ask(&mut office, Request::Server(ServerRequest::Stop)).await.unwrap_err();
    assert_eq!(error.to_string(), "the server is not running; start it with `packetboat serve`");

    let in_use = Office::open(&settings).await.unwrap_err();
    assert_eq!(in_use.kind, ErrorKind::Unavailable);
    office.close().await;
    assert!(Office::open(&settings).await.is_ok(), "closed, it is free again");
}

#[tokio::test]
async fn the_running_server_tells_of_itself() {
    let server = Server::start().await;
    let mut office = Office::open(&server.settings).await.unwrap();
    let mut server_request = async |request| ask(&mut office, Request::Server(request)).await;
    assert_eq!(server_request(ServerRequest::Connections).await.unwrap().len(), 3);
    let metrics = server_request(ServerRequest::Metrics).await.unwrap();
    assert_eq!(metrics, [Item::Metric("a 1".into()), Item::Metric("b 2".into())]);
    let error = server_request(ServerRequest::Reload).await.unwrap_err();
    assert_eq!(error, AdminError::new(ErrorKind::Config, "packetboat.toml:3:1: nonsense"));
    assert!(matches!(&server_request(ServerRequest::Stop).await.unwrap()[..], [Item::Done(_)]));
    assert_eq!(*server.idle.done.lock(), ["reload", "stop"]);
    server.stop().await;
}

#[tokio::test]
async fn the_socket_is_its_owners_and_goes_with_the_server() {
    let server = Server::start().await;
    let path = server.settings.admin_socket();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let dir = server.stop().await;
    assert!(!path.exists());

    // One that a killed server left is in nobody's way; anything else is not touched.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(AdminSocket::bind(&path).unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(AdminSocket::bind(&path), Err(SocketError::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    drop(dir);
}

#[tokio::test]
async fn nonsense_is_answered_and_costs_the_server_nothing() {
    let server = Server::start().await;
    for nonsense in ["", "{", "[1]", "{\"server\":\"explode\"}", "\u{0}", &"x".repeat(LINE_MAX + 1)] {
        let mut stream = BufReader::new(UnixStream::connect(server.settings.admin_socket()).await.unwrap());
        // The server hangs up on a line that is too long before it has read all of it.
        let _ = stream.get_mut().write_all(format!("{nonsense}\n").as_bytes()).await;
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        assert!(answer.starts_with("{\"failed\":{\"kind\":\"usage\","), "{answer}");
    }
    // Hanging up in the middle of things.
    let mut stream = UnixStream::connect(server.settings.admin_socket()).await.unwrap();
    stream.write_all(b"{\"server\":").await.unwrap();
    drop(stream);
    let mut office = Office::open(&server.settings).await.unwrap();
    ask(&mut office, add_domain("example.org")).await.unwrap();
    server.stop().await;
}

/// Exit codes are what scripts rely on.
#[test]
fn exit_codes_are_those_of_sysexits_and_all_differ() {
    let mut codes: Vec<u8> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
    codes.dedup();
    assert_eq!(codes, [64, 65, 67, 68, 69, 70, 73, 74, 75, 77, 78]);
}
