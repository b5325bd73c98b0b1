//! A whole server on loopback, ready in a moment, for trying things out: throwaway certificates, known accounts.
//!
//! Everything it keeps lies in one directory; a second start on the same directory finds it all again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use packetboat_account::{DirectoryError, Found, NewAccount, NewPassword};
use packetboat_message::Address;
use serde::Serialize;

use crate::app::{App, AppError, serve};
use crate::server::write_private;
use crate::settings::{Certificate, Listen, ListenAddress, Settings, Size};
use crate::tls::generate;

/// The domain of the demo's accounts.
pub const DOMAIN: &str = "demo.test";
/// Every account's password.
pub const PASSWORD: &str = "demo";
/// More connections than a small machine's default, since a demo is also what load is tried on.
const CONNECTIONS: u32 = 15_000;
/// Larger than a mail server's usual limit, since a demo is also where large messages are tried.
const MESSAGE_SIZE: Size = Size(1 << 30);

/// What is wanted of a demo.
#[derive(Debug, Clone, Default)]
pub struct Demo {
    /// Where to keep everything.
    pub dir: PathBuf,
    /// The first port; the services take one after the other, in the order of [`Listen`]. `None`: the system chooses free ones.
    pub ports_from: Option<u16>,
    /// Accounts `user0000`, `user0001`, ... besides alice and bob.
    pub accounts: usize,
    /// What is logged, and how.
    pub log_level: String,
}

/// A demo that serves.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// Always true: this is said when everything is.
    pub ready: bool,
    /// Where everything is kept.
    pub dir: PathBuf,
    /// The certificate of the authority to trust.
    pub ca: PathBuf,
    /// Who can log in.
    pub accounts: Vec<Login>,
    /// Where each service listens on 127.0.0.1.
    pub ports: serde_json::Map<String, serde_json::Value>,
}

/// A name and its password.
#[derive(Debug, Serialize)]
pub struct Login {
    /// The account's login name.
    pub login: String,
    /// Its password.
    pub password: &'static str,
}

impl Demo {
    /// Serves until SIGINT or SIGTERM. `told` is called when everything is ready.
    pub fn run(self, told: impl FnOnce(&Ready)) -> Result<(), AppError> {
        fs::create_dir_all(&self.dir)?;
        let dir = self.dir.canonicalize()?;
        let settings = self.settings(&dir)?;
        serve(settings, None, async move |app: &App, ports: &[(&'static str, u16)]| {
            let accounts = self.people(app).await?;
            let ports = ports.iter().map(|(name, port)| ((*name).to_owned(), (*port).into())).collect();
            told(&Ready { ready: true, ca: dir.join("ca.pem"), dir, accounts, ports });
            Ok(())
        })
    }

    fn settings(&self, dir: &Path) -> Result<Settings, AppError> {
        let mut settings = Settings::default();
        settings.general.hostname = DOMAIN.to_owned();
        settings.general.data = dir.join("data");
        settings.certificates = vec![certificate(dir)?];
        settings.auth.plaintext_without_tls = true;
        settings.limits.message_size = MESSAGE_SIZE;
        settings.limits.connections = CONNECTIONS;
        settings.limits.connections_before_login = CONNECTIONS;
        settings.pop3.apop = true;
        settings.log.level.clone_from(&self.log_level);
        let mut place = 0;
        let mut next = || {
            let port = self.ports_from.map_or(0, |first| first.saturating_add(place));
            place += 1;
            vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))]
        };
        settings.listen = Listen {
            smtp: next(),
            submission: next(),
            submissions: next(),
            lmtp: next(),
            pop3: next(),
            pop3s: next(),
            imap: next(),
            imaps: next(),
            metrics: next(),
            ..settings.listen
        };
        Ok(settings)
    }

    /// Sees to it that the domain and all accounts are there.
    async fn people(&self, app: &App) -> Result<Vec<Login>, AppError> {
        let directory = &app.directory;
        match directory.add_domain(&domain()?).await {
            Ok(_) | Err(DirectoryError::DomainExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let named = ["alice", "bob"].into_iter().map(str::to_owned);
        let numbered = (0..self.accounts).map(|number| format!("user{number:04}"));
        let names: Vec<String> = named.chain(numbered).collect();
        let mut missing = Vec::new();
        for name in &names {
            let login = address(name)?;
            if !matches!(directory.find(&login)?, Found::Account(account) if account.login == login) {
                missing.push(NewAccount::new(login));
            }
        }
        if !missing.is_empty() {
            // One hash for all: nobody minds here that they share its salt, and thousands start in a second.
            let password = NewPassword::Plain(PASSWORD.to_owned().into());
            let password = directory.prepare_password(password).await?;
            // Programs that see APOP offered try it, and some try nothing else then.
            let password = password.with_shared_secret(PASSWORD.to_owned().into());
            missing.iter_mut().for_each(|account| account.password = Some(password.clone()));
            directory.add_accounts(missing).await?;
        }
        Ok(names
            .into_iter()
            .map(|name| Login { login: format!("{name}@{DOMAIN}"), password: PASSWORD })
            .collect())
    }
}

fn domain() -> Result<packetboat_message::Domain, AppError> {
    DOMAIN.parse().map_err(AppError::Hostname)
}

fn address(name: &str) -> Result<Address, AppError> {
    format!("{name}@{DOMAIN}").parse().map_err(AppError::Hostname)
}

/// The demo's certificate, made at its first start.
fn certificate(dir: &Path) -> Result<Certificate, AppError> {
    let files = Certificate { chain: dir.join("cert.pem"), key: dir.join("key.pem") };
    if !files.chain.exists() || !files.key.exists() || !dir.join("ca.pem").exists() {
        let names = [DOMAIN, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = generate(&names).map_err(std::io::Error::other)?;
        write_private(&files.key, &made.key)?;
        fs::write(dir.join("ca.pem"), &made.ca)?;
        fs::write(&files.chain, &made.chain)?;
    }
    Ok(files)
}
