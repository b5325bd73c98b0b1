//! VRFY and EXPN.

use packetboat_mail::alias::{AliasError, ListMember, Listed, Verified};
use packetboat_message::Address;
use packetboat_smtp::command::Query;
use packetboat_smtp::reply;
use packetboat_smtp::server::Server;
use packetboat_wire::Reply;

use super::Smtp;

/// Members of a list that are told at most: a reply has to end some time.
const MEMBERS_MAX: usize = 1000;

impl Smtp {
    pub(super) async fn verify(&self, session: &mut Server, query: Query) {
        match self.counter.office.aliases().verify(&query.name).await {
            Ok(Verified::Mailbox(member)) => {
                session.accept_with(reply::mailboxes([shown(&member, query.utf8)]))
            }
            Ok(Verified::List(address)) => {
                session.accept_with(reply::mailboxes([format!("<{}>", written(&address))]));
            }
            Ok(Verified::Forwarded(to)) => session.accept_with(reply::will_forward(&written(&to))),
            Ok(Verified::Moved(to)) => session.refuse(reply::user_not_local(&written(&to))),
            Ok(Verified::Ambiguous(addresses)) => session.refuse(ambiguous(&addresses)),
            Ok(Verified::Elsewhere(_)) => session.accept_with(reply::cannot_verify()),
            Ok(Verified::Nobody) => session.refuse(reply::mailbox_unavailable()),
            Err(error) => self.cannot_tell(session, &error),
        }
    }

    pub(super) async fn expand(&self, session: &mut Server, query: Query) {
        match self.counter.office.aliases().expand_list(&query.name).await {
            Ok(Listed::Members(members)) => {
                session.accept_with(reply::mailboxes(
                    members.iter().take(MEMBERS_MAX).map(|member| shown(member, query.utf8)),
                ));
            }
            Ok(Listed::Moved(to)) => session.refuse(reply::user_not_local(&written(&to))),
            Ok(Listed::Ambiguous(addresses)) => session.refuse(ambiguous(&addresses)),
            Ok(Listed::Elsewhere(_)) => session.accept_with(reply::cannot_verify()),
            Ok(Listed::Nobody) => session.refuse(reply::mailbox_unavailable()),
            Err(error) => self.cannot_tell(session, &error),
        }
    }

    fn cannot_tell(&self, session: &mut Server, error: &AliasError) {
        tracing::error!(connection = self.peer.id, %error, "a name could not be looked up");
        session.refuse(reply::local_error());
    }
}

fn ambiguous(addresses: &[Address]) -> Reply {
    reply::ambiguous(addresses.iter().map(|address| format!("<{}>", written(address))))
}

/// `Full Name <address>`, or the address alone where the name cannot be told.
fn shown(member: &ListMember, utf8: bool) -> String {
    let address = written(&member.address);
    let name = member.name.as_deref().filter(|name| utf8 || name.is_ascii());
    let name: String =
        name.unwrap_or_default().chars().filter(|c| !c.is_control() && !"<>".contains(*c)).collect();
    match name.trim() {
        "" => format!("<{address}>"),
        name => format!("{name} <{address}>"),
    }
}

/// The address in ASCII, if there is a form of it that is.
pub(super) fn written(address: &Address) -> String {
    match address.needs_utf8() {
        true => address.to_string(),
        false => format!("{}@{}", address.local(), address.domain().to_ascii()),
    }
}
