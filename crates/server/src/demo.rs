//! A whole server on loopback, ready in a moment, for trying things out: throwaway certificates, known accounts.
//!
//! Everything it keeps lies in one directory; a second start on the same directory finds it all again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use packetboat_account::{DirectoryError, Found, NewAccount, NewPassword};
use packetboat_mail::outbound::{NextHop, Way};
use packetboat_message::Address;
use serde::Serialize;

use crate::app::{App, AppError, serve};
use crate::server::write_private;
use crate::settings::{Certificate, DomainPattern, Listen, ListenAddress, Route, Settings, Size, Via};
use crate::tls::generate;

/// The domain of the demo's accounts.
pub const DOMAIN: &str = "demo.test";
/// Every account's password.
pub const PASSWORD: &str = "demo";
/// More connections than a small machine's default, since a demo is also what load is tried on.
const CONNECTIONS: u32 = 15_000;
/// Where the files of `[anonymous]` lie when nothing else is said.
const PUBLIC: &str = "public";
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
    /// By which way mail for other domains leaves. What none of these is for is not taken.
    pub routes: Vec<DemoRoute>,
    /// What is logged, and how.
    pub log_level: String,
}

/// A way out of the demo: `example.org=127.0.0.1:2525`, `*.example.org=localhost:2525`, `*=127.0.0.1:2525`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoRoute {
    /// Whose mail goes there.
    pub domain: DomainPattern,
    /// Where it goes.
    pub host: NextHop,
}

/// A text that is no [`DemoRoute`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a route is DOMAIN=HOST:PORT, such as example.org=127.0.0.1:2525; DOMAIN may be *.example.org or *")]
pub struct InvalidRoute;

impl FromStr for DemoRoute {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<DemoRoute, InvalidRoute> {
        let (domain, host) = text.split_once('=').ok_or(InvalidRoute)?;
        let domain = domain.parse().map_err(|_| InvalidRoute)?;
        let host = format!("host:{host}").parse().map_err(|_| InvalidRoute)?;
        Ok(DemoRoute { domain, host })
    }
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
        for_anybody(&settings.general.data.join(PUBLIC))?;
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
        settings.anonymous.enabled = true;
        settings.log.level.clone_from(&self.log_level);
        settings.routes = self.routes();
        // A demo asks no one but those it was told of.
        settings.outbound_tls.dane = false;
        settings.outbound_tls.mta_sts = false;
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
            ftp: next(),
            ftps: next(),
            metrics: next(),
            ..settings.listen
        };
        Ok(settings)
    }

    /// The ways out that were given, and no other: a demo does not talk to the Internet.
    fn routes(&self) -> Vec<Route> {
        let route = |domain: &DomainPattern, way| Route {
            domains: vec![domain.clone()],
            via: Via(way),
            ..Route::default()
        };
        let given = self.routes.iter().map(|it| route(&it.domain, Way::Via(it.host.clone())));
        given.chain([route(&DomainPattern::All, Way::Nowhere)]).collect()
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

/// A file that anybody may get.
fn for_anybody(public: &Path) -> Result<(), AppError> {
    let welcome = public.join("welcome.txt");
    if !welcome.exists() {
        fs::create_dir_all(public)?;
        fs::write(welcome, "Ahoy! Whoever comes as anonymous may read what lies here.\n")?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn mail_leaves_a_demo_only_by_the_routes_given() {
        let routes =
            ["a.test=127.0.0.1:2525", "*.b.test=[::1]:25"].map(|text| text.parse().unwrap()).to_vec();
        let settings =
            Settings { routes: Demo { routes, ..Demo::default() }.routes(), ..Settings::default() };
        let routes = settings.outgoing().routes;
        let hop = |domain: &str| routes.next_hop(None, &domain.parse().unwrap()).map(|hop| hop.to_string());
        assert_eq!(hop("a.test").as_deref(), Some("host:127.0.0.1:2525"));
        assert_eq!(hop("x.b.test").as_deref(), Some("host:[::1]:25"));
        assert_eq!((hop("b.test"), hop("example.org")), (None, None));
        for text in ["", "a.test", "a.test=", "a.test=host", "=127.0.0.1:25", "a.test=127.0.0.1:0", "a b=c:1"]
        {
            assert_eq!(text.parse::<DemoRoute>(), Err(InvalidRoute), "{text}");
        }
    }
}
