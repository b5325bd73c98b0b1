//! Carrying out a request.

use std::pin::Pin;
use std::sync::Arc;

use packetboat_account::{self as account, Directory, DirectoryError, FilesOwner, NewAccount};
use packetboat_mail::PostOffice;
use packetboat_mail::alias::AliasError;
use packetboat_mail::mailbox::Mailboxes;
use packetboat_mail::queue::Queue;
use packetboat_message::{Address, Domain as DomainName};
use tokio::sync::mpsc;

use super::error::{AdminError, ErrorKind};
use super::item::{Account, AppPassword, Connection, Done, FileUse, Item, QuotaUse, Secret};
use super::request::{AccountRequest, Guests, NewPassword, Password, Request, ServerRequest};
use crate::trace::Reader;

/// Entries read from the store at a time.
pub(super) const PAGE: usize = 256;

/// What requests are carried out on.
#[derive(Debug, Clone)]
pub struct Context {
    /// The directory.
    pub directory: Directory,
    /// The post office, for moving mail.
    pub office: PostOffice,
    /// What happened to messages.
    pub trace: Reader,
    /// Mail on its way to other servers.
    pub queue: Queue,
    /// The server, where one runs.
    pub running: Option<Arc<dyn Running>>,
}

/// What only a running server can do.
pub trait Running: Send + Sync + std::fmt::Debug {
    /// Who is connected.
    fn connections(&self) -> Vec<Connection>;
    /// Has connections ended; gives those it concerns. An account is named by its login name.
    fn disconnect(&self, which: &Guests) -> Vec<Connection>;
    /// The numbers in the text format of Prometheus.
    fn metrics(&self) -> String;
    /// Reads settings and certificates anew; the error says what is wrong with them, and nothing has changed then.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
    /// Begins to stop.
    fn stop(&self);
}

/// Where the answers go. Full, it holds the request up; gone, it ends it.
#[derive(Debug)]
pub struct Items(pub mpsc::Sender<Item>);

impl Items {
    pub(super) async fn tell(&self, item: Item) -> Result<(), AdminError> {
        self.0
            .send(item)
            .await
            .map_err(|_| AdminError::new(ErrorKind::Io, "whoever asked does not listen any more"))
    }

    pub(super) async fn done(&self, done: &str, what: Option<String>) -> Result<(), AdminError> {
        self.tell(Item::Done(Done { done: done.to_owned(), what })).await
    }
}

impl Context {
    /// The mailboxes of an account.
    pub(super) async fn mailboxes(&self, account: &str) -> Result<Mailboxes, AdminError> {
        let account = self.directory.account_named(account)?;
        self.office
            .mailboxes(account.id)
            .await
            .map_err(|refusal| AdminError::new(ErrorKind::Temporary, refusal.to_string()))
    }
}

/// Carries out a request.
pub async fn execute(request: Request, context: &Context, items: &Items) -> Result<(), AdminError> {
    match request {
        Request::Domain(request) => super::alias::domain(request, context, items).await,
        Request::Account(request) => account(request, context, items).await,
        Request::Queue(request) => super::queue::queue(request, context, items).await,
        Request::Alias(request) => super::alias::alias(request, context, items).await,
        Request::Backup { to } => {
            let copied = context.directory.store().backup(&to).await.map_err(|error| {
                let message = format!(
                    "{}: {error}; a backup goes into a directory that is empty or holds an earlier one, and that the \
                     server's user may write",
                    to.display()
                );
                AdminError::new(ErrorKind::Io, message)
            })?;
            items.tell(Item::Copied(copied.into())).await
        }
        Request::Trace(request) => super::trace::trace(request, context, items).await,
        Request::Import { .. } | Request::Export { .. } | Request::HandIn(_) => {
            Err(AdminError::new(ErrorKind::Usage, "mail moves over a connection of its own"))
        }
        Request::Server(request) => match &context.running {
            Some(running) => server(request, running.as_ref(), context, items).await,
            None => Err(AdminError::new(
                ErrorKind::Unavailable,
                "the server is not running; start it with `packetboat serve`",
            )),
        },
    }
}

async fn account(request: AccountRequest, context: &Context, items: &Items) -> Result<(), AdminError> {
    use AccountRequest as R;
    let Context { directory, office, .. } = context;
    match request {
        R::Add { login, aliases, name, password, quota } => {
            let login = full_address(directory, &login)?;
            let aliases = aliases.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
            for address in std::iter::once(&login).chain(&aliases) {
                require_no_alias(office, address)?;
            }
            let password = match password {
                Some(password) => Some(directory.prepare_password(password.into()).await?),
                None => None,
            };
            let added = directory.add_account(NewAccount { login, aliases, name, password, quota }).await?;
            items.tell(account_item(directory, &added).await?).await
        }
        R::List { domain } => {
            let domain = domain.as_deref().map(domain_name).transpose()?;
            list(directory, domain.as_ref(), items).await
        }
        R::Show { account } => show(directory, &account, items).await,
        R::Password { account, password } => {
            let id = directory.account_named(&account)?.id;
            directory.set_password(id, password.into()).await?;
            show(directory, &account, items).await
        }
        R::Remove { account } => {
            let account = directory.account_named(&account)?;
            directory.remove_account(account.id).await?;
            items.done("account removed", Some(account.login.to_string())).await?;
            super::alias::tell_broken(office, &account.addresses, items).await
        }
        R::Disable { account, disabled } => {
            directory.set_disabled(directory.account_named(&account)?.id, disabled).await?;
            show(directory, &account, items).await
        }
        R::Name { account, name } => {
            directory.set_name(directory.account_named(&account)?.id, name).await?;
            show(directory, &account, items).await
        }
        R::Quota { account, quota } => {
            directory.set_quota(directory.account_named(&account)?.id, quota).await?;
            show(directory, &account, items).await
        }
        R::RecountFiles { account } => {
            let account = directory.account_named(&account)?;
            directory.forget_file_usage(FilesOwner::Account(account.id)).await?;
            let what = Some(account.login.to_string());
            items.done("files will be counted at the next log-in", what).await
        }
        R::AddAddress { account, address: text } => {
            let new = address(&text)?;
            require_no_alias(office, &new)?;
            directory.add_address(directory.account_named(&account)?.id, &new).await?;
            show(directory, &account, items).await
        }
        R::RemoveAddress { account, address: text } => {
            directory.remove_address(directory.account_named(&account)?.id, &address(&text)?).await?;
            show(directory, &account, items).await
        }
        R::AddAppPassword { account, name, services } => {
            let account = directory.account_named(&account)?;
            let password = directory.add_app_password(account.id, &name, services).await?;
            let account = account.login.to_string();
            items.tell(Item::Secret(Secret { account, name: Some(name), password: Password(password) })).await
        }
        R::AppPasswords { account } => {
            let account = directory.account_named(&account)?;
            for info in directory.credentials(account.id)?.app_passwords {
                items
                    .tell(Item::AppPassword(AppPassword { account: account.login.to_string(), info }))
                    .await?;
            }
            Ok(())
        }
        R::RevokeAppPassword { account, name } => {
            directory.revoke_app_password(directory.account_named(&account)?.id, &name).await?;
            items.done("app password revoked", Some(name)).await
        }
        R::GenerateApopSecret { account } => {
            let account = directory.account_named(&account)?;
            let password = Password(directory.generate_shared_secret(account.id).await?);
            items
                .tell(Item::Secret(Secret { account: account.login.to_string(), name: None, password }))
                .await
        }
        R::ApopSecret { account, secret } => {
            let id = directory.account_named(&account)?.id;
            directory.set_shared_secret(id, secret.map(|Password(secret)| secret)).await?;
            show(directory, &account, items).await
        }
    }
}

async fn server(
    request: ServerRequest,
    running: &dyn Running,
    context: &Context,
    items: &Items,
) -> Result<(), AdminError> {
    match request {
        ServerRequest::Disconnect(mut which) => {
            if let Guests::Account(account) = &mut which {
                *account = context.directory.account_named(account)?.login.to_string();
            }
            let ended = running.disconnect(&which);
            if ended.is_empty() {
                return Err(AdminError::new(ErrorKind::Data, "there is no such connection"));
            }
            for connection in ended {
                items.tell(Item::Connection(connection)).await?;
            }
            Ok(())
        }
        ServerRequest::Connections => {
            for connection in running.connections() {
                items.tell(Item::Connection(connection)).await?;
            }
            Ok(())
        }
        ServerRequest::Metrics => {
            for line in running.metrics().lines() {
                items.tell(Item::Metric(line.to_owned())).await?;
            }
            Ok(())
        }
        ServerRequest::Reload => match running.reload().await {
            Ok(()) => items.done("reloaded", None).await,
            Err(message) => Err(AdminError::new(ErrorKind::Config, message)),
        },
        ServerRequest::Stop => {
            running.stop();
            items.done("stopping", None).await
        }
    }
}

async fn list(directory: &Directory, domain: Option<&DomainName>, items: &Items) -> Result<(), AdminError> {
    if let Some(domain) = domain
        && !directory.is_local(domain)?
    {
        return Err(DirectoryError::NoSuchDomain(domain.clone()).into());
    }
    let mut after = None;
    loop {
        let page = directory.accounts(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for account in &page {
            if domain.is_some_and(|domain| account.addresses.iter().all(|address| address.domain() != domain))
            {
                continue;
            }
            match account_item(directory, account).await {
                Ok(item) => items.tell(item).await?,
                // Removed since the page was read.
                Err(AdminError { kind: ErrorKind::NoUser, .. }) => (),
                Err(error) => return Err(error),
            }
        }
    }
}

async fn show(directory: &Directory, account: &str, items: &Items) -> Result<(), AdminError> {
    let account = directory.account_named(account)?;
    items.tell(account_item(directory, &account).await?).await
}

async fn account_item(directory: &Directory, account: &account::Account) -> Result<Item, AdminError> {
    let usage = directory.usage(account.id).await?;
    let credentials = directory.credentials(account.id)?;
    let (files, _) = directory.file_usage(FilesOwner::Account(account.id))?;
    Ok(Item::Account(Account {
        login: account.login.to_string(),
        id: account.id.0,
        name: account.name.clone(),
        addresses: account.addresses.iter().map(ToString::to_string).collect(),
        disabled: account.disabled,
        octets: QuotaUse { used: usage.octets, limit: usage.quota.octets },
        messages: QuotaUse { used: usage.messages, limit: usage.quota.messages },
        files: files.map(|files| FileUse {
            octets: QuotaUse { used: files.octets, limit: files.octets_limit },
            files: QuotaUse { used: files.files, limit: files.files_limit },
        }),
        password: credentials.password,
        apop: credentials.shared_secret,
        app_passwords: credentials.app_passwords.into_iter().map(|app| app.name).collect(),
        created_at: account.created_at,
    }))
}

pub(super) fn domain_name(text: &str) -> Result<DomainName, AdminError> {
    DomainName::parse(text).map_err(|_| {
        AdminError::new(ErrorKind::Data, format!("'{text}' is not a domain name, such as example.org"))
    })
}

pub(super) fn address(text: &str) -> Result<Address, AdminError> {
    Address::parse(text)
        .map_err(|error| AdminError::new(ErrorKind::Data, format!("'{text}' is not an address: {error}")))
}

/// An alias goes before an account, which would get no mail.
fn require_no_alias(office: &PostOffice, address: &Address) -> Result<(), AdminError> {
    match office.aliases().alias(address)? {
        Some(alias) => Err(AliasError::Exists(alias.name).into()),
        None => Ok(()),
    }
}

/// An address that need not be anybody's yet, in full or without the domain where that is clear.
pub(super) fn full_address(directory: &Directory, text: &str) -> Result<Address, AdminError> {
    match directory.login_address(text) {
        Some(address) => Ok(address),
        None if text.contains('@') => address(text),
        None => Err(DirectoryError::WhichDomain(text.to_owned()).into()),
    }
}

impl From<NewPassword> for account::NewPassword {
    fn from(password: NewPassword) -> account::NewPassword {
        match password {
            NewPassword::Plain(Password(password)) => account::NewPassword::Plain(password),
            NewPassword::Hash(Password(hash)) => account::NewPassword::Hash(hash.expose().clone()),
        }
    }
}
