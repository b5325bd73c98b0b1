//! Carrying out requests about domains and aliases.

use packetboat_account::{DirectoryError, DomainInfo};
use packetboat_mail::PostOffice;
use packetboat_mail::alias::{self, DomainRules, Expanded, Leg, Missing, Moved, NoSeparator};
use packetboat_message::{Address, Domain as DomainName};

use super::error::{AdminError, ErrorKind};
use super::execute::{Context, Items, PAGE, domain_name, full_address};
use super::item::{Alias, Domain, Item, Way};
use super::request::{AliasRequest, DomainRequest};

pub(super) async fn domain(
    request: DomainRequest,
    context: &Context,
    items: &Items,
) -> Result<(), AdminError> {
    use DomainRequest as R;
    let directory = &context.directory;
    match request {
        R::Add { domain } => {
            let info = directory.add_domain(&domain_name(&domain)?).await?;
            items.tell(domain_item(context, info)?).await
        }
        R::List => {
            let mut after = None;
            loop {
                let page = directory.domains(after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = Some(last.name.clone());
                for info in page {
                    items.tell(domain_item(context, info)?).await?;
                }
            }
        }
        R::Remove { domain } => {
            let name = domain_name(&domain)?;
            context.office.aliases().check_unused(&name).await?;
            directory.remove_domain(&name).await?;
            context.office.aliases().forget_domain(&name).await?;
            items.done("domain removed", Some(name.to_string())).await
        }
        R::Postmaster { domain, account } => {
            let name = domain_name(&domain)?;
            let account = directory.account_named(&account)?;
            directory.set_postmaster(&name, account.id).await?;
            items.done("postmaster set", Some(account.login.to_string())).await
        }
        R::Show { domain } => show_domain(&domain_name(&domain)?, context, items).await,
        R::CatchAll { domain, target } => {
            let target = target_of(context, &domain, target)?;
            change(&domain, context, items, |rules| rules.catch_all = target).await
        }
        R::Generic { domain, target } => {
            let target = target_of(context, &domain, target)?;
            change(&domain, context, items, |rules| rules.generic = target).await
        }
        R::SameAs { domain, other } => {
            let other = other.as_deref().map(domain_name).transpose()?;
            if let Some(other) = &other {
                let name = domain_name(&domain)?;
                if !directory.is_local(other)? {
                    return Err(DirectoryError::NoSuchDomain(other.clone()).into());
                }
                if !directory.is_local(&name)? {
                    directory.add_domain(&name).await?;
                }
            }
            change(&domain, context, items, |rules| rules.same_as = other).await
        }
        R::Separator { domain, separator } => {
            let separator = separator.map(|text| text.parse()).transpose();
            let separator = separator
                .map_err(|error: NoSeparator| AdminError::new(ErrorKind::Data, error.to_string()))?;
            change(&domain, context, items, |rules| rules.separator = separator).await
        }
        R::Srs { domain, on } => change(&domain, context, items, |rules| rules.srs = on).await,
    }
}

/// Changes what is said of a domain, and tells what is said now.
async fn change(
    domain: &str,
    context: &Context,
    items: &Items,
    how: impl FnOnce(&mut DomainRules),
) -> Result<(), AdminError> {
    let name = domain_name(domain)?;
    context.office.aliases().change_rules(&name, Missing::Refuse, how).await?;
    show_domain(&name, context, items).await
}

async fn show_domain(name: &DomainName, context: &Context, items: &Items) -> Result<(), AdminError> {
    let info = context.directory.domain(name)?;
    items.tell(domain_item(context, info)?).await
}

/// A target; without a domain of its own it is of the one it is for.
fn target_of(context: &Context, domain: &str, target: Option<String>) -> Result<Option<Address>, AdminError> {
    let domain = domain_name(domain)?;
    let full = |text: String| match text.contains('@') {
        true => text,
        false => format!("{text}@{domain}"),
    };
    target.map(|text| full_address(&context.directory, &full(text))).transpose()
}

fn domain_item(context: &Context, info: DomainInfo) -> Result<Item, AdminError> {
    let directory = &context.directory;
    let postmaster = match info.postmaster.map(|id| directory.account(id)) {
        Some(Ok(account)) => Some(account.login.to_string()),
        Some(Err(DirectoryError::NoSuchAccountId(_))) | None => None,
        Some(Err(error)) => return Err(error.into()),
    };
    let rules = context.office.aliases().rules(&info.name)?.unwrap_or_default();
    let separator = match rules.separator {
        Some(separator) => separator.character(),
        None => directory.subaddress_separator(),
    };
    let text = |address: Option<Address>| address.map(|address| address.to_string());
    Ok(Item::Domain(Domain {
        domain: info.name.to_string(),
        postmaster,
        same_as: rules.same_as.map(|other| other.to_string()),
        catch_all: text(rules.catch_all),
        generic: text(rules.generic),
        separator,
        srs: rules.srs,
        created_at: info.created_at,
    }))
}

pub(super) async fn alias(request: AliasRequest, context: &Context, items: &Items) -> Result<(), AdminError> {
    use AliasRequest as R;
    let aliases = context.office.aliases();
    let address = |text: &str| full_address(&context.directory, text);
    let all = |texts: Vec<String>| texts.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>();
    match request {
        R::Add { name, targets, missing_ok } => {
            let missing = if missing_ok { Missing::Accept } else { Missing::Refuse };
            let alias = aliases.add(&address(&name)?, &all(targets)?, missing).await?;
            items.tell(alias_item(alias)).await
        }
        R::Set { name, targets } => {
            let alias = aliases.set(&address(&name)?, &all(targets)?, Missing::Accept).await?;
            items.tell(alias_item(alias)).await
        }
        R::Remove { name, targets } => {
            let name = address(&name)?;
            let left = match targets.is_empty() {
                true => {
                    aliases.remove(&name).await?;
                    None
                }
                false => aliases.remove_targets(&name, &all(targets)?).await?,
            };
            match left {
                Some(alias) => items.tell(alias_item(alias)).await,
                None => items.done("alias removed", Some(name.to_string())).await,
            }
        }
        R::List { domain } => {
            let domain = domain.as_deref().map(domain_name).transpose()?;
            if let Some(domain) = &domain
                && !context.directory.is_local(domain)?
            {
                return Err(DirectoryError::NoSuchDomain(domain.clone()).into());
            }
            let mut after = None;
            loop {
                let page = aliases.aliases(domain.as_ref(), after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = Some(last.name.clone());
                for alias in page {
                    items.tell(alias_item(alias)).await?;
                }
            }
        }
        R::Show { name } => show(&address(&name)?, context, items).await,
        R::Move { name, to, refuse } => {
            let how = if refuse { Moved::Refuse } else { Moved::Forward };
            let alias = aliases.set_moved(&address(&name)?, &address(&to)?, how, Missing::Refuse).await?;
            items.tell(alias_item(alias)).await
        }
        R::RotateKey => {
            aliases.rotate_srs_key().await?;
            items.done("return paths are signed with a new key", None).await
        }
    }
}

/// Tells where mail to an address goes.
async fn show(address: &Address, context: &Context, items: &Items) -> Result<(), AdminError> {
    let nobody = |why: String| AdminError::new(ErrorKind::NoUser, why);
    let expansion = match context.office.aliases().expand(address)? {
        Expanded::To(expansion) => expansion,
        Expanded::Nobody => {
            let why =
                format!("nobody has the address {address}; `packetboat alias add` gives it to somebody");
            return Err(nobody(why));
        }
        Expanded::Elsewhere => return Err(DirectoryError::NoSuchDomain(address.domain().clone()).into()),
        Expanded::Moved(to) => {
            let problem = Some(format!("refused; senders are told to write to {to}"));
            let (address, through) = (to.to_string(), vec![address.to_string()]);
            return items.tell(Item::Way(Way { address, account: None, tag: None, through, problem })).await;
        }
        Expanded::NotOurs(invalid) => return Err(nobody(invalid.to_string())),
        Expanded::Broken(failure) => return items.tell(failed(failure)).await,
    };
    for leg in &expansion.legs {
        let (account, tag) = match leg {
            Leg::Local(local) => (Some(local.account.login.to_string()), local.tag.as_deref()),
            Leg::Remote(_) => (None, None),
        };
        let way = Way {
            address: leg.address().to_string(),
            account,
            tag: tag.map(str::to_owned),
            through: through(leg.chain()),
            problem: None,
        };
        items.tell(Item::Way(way)).await?;
    }
    for failure in expansion.failures.into_iter().chain(expansion.loops) {
        items.tell(failed(failure)).await?;
    }
    Ok(())
}

fn failed(failure: alias::Failure) -> Item {
    Item::Way(Way {
        address: failure.address.to_string(),
        account: None,
        tag: None,
        through: through(&failure.chain),
        problem: Some(failure.cause.to_string()),
    })
}

fn through(chain: &alias::Chain) -> Vec<String> {
    chain.steps().iter().map(|(name, _)| name.to_string()).collect()
}

/// Tells of aliases that lead to these addresses, which are nobody's any more.
pub(super) async fn tell_broken(
    office: &PostOffice,
    gone: &[Address],
    items: &Items,
) -> Result<(), AdminError> {
    let gone: Vec<String> = gone.iter().map(Address::lookup_key).collect();
    let mut after = None;
    loop {
        let page = office.aliases().aliases(None, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.name.clone());
        for alias in page {
            let lost = alias.targets.iter().find(|target| gone.contains(&target.lookup_key()));
            if let Some(target) = lost {
                let what = format!("{} to {target}", alias.name);
                items.done("alias leads to nobody now", Some(what)).await?;
            }
        }
    }
}

fn alias_item(alias: alias::Alias) -> Item {
    let moved = alias.moved.map(|moved| match moved {
        Moved::Forward => "forward".to_owned(),
        Moved::Refuse => "refuse".to_owned(),
    });
    Item::Alias(Alias {
        alias: alias.name.to_string(),
        targets: alias.targets.iter().map(ToString::to_string).collect(),
        moved,
        created_at: alias.created_at,
    })
}
