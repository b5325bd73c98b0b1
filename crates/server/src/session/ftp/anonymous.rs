//! Those who come without an account.

use packetboat_files::policy::{Closed, Visitor};
use packetboat_ftp::server::{Refusal, Server};
use packetboat_wire::Secret;

use super::Ftp;
use crate::metrics::OutcomeLabels;

/// What they call themselves.
const NAMES: [&str; 2] = ["anonymous", "ftp"];
/// Of what they give as password, this much is in the log.
const LOGGED_MAX: usize = 100;

impl Ftp {
    /// Whether a name is one of those, and not an account's: where nobody comes without an account, an account may be
    /// called so.
    pub(super) fn is_anonymous(&self, name: &str) -> bool {
        let named = NAMES.iter().any(|it| it.eq_ignore_ascii_case(name));
        let is_account = || {
            let directory = self.counter.authenticator.directory();
            directory.find_login(name).is_ok_and(|account| account.is_some())
        };
        named && (self.depot.doors.policy().anonymous.is_some() || !is_account())
    }

    /// Lets somebody in without asking who it is. There is nothing to be guessed, so nothing is counted as a guess.
    pub(super) async fn anonymous(&mut self, session: &mut Server, user: &str, password: &Secret<String>) {
        let (connection, peer) = (self.peer.id, self.peer.clone());
        let given: String = password.expose().chars().take(LOGGED_MAX).collect();
        let policy = self.depot.doors.policy();
        let Some(anonymous) = &policy.anonymous else {
            return self.turned_away(session, user, &Closed::NotAnonymously);
        };
        if !anonymous.password.admits(password.expose()) {
            tracing::warn!(connection, %peer, user, given, "an anonymous user's password is no address");
            return session.refuse(Refusal::LoginFailed);
        }
        self.listed.anonymous(&given);
        self.come_in(session, Visitor::Anonymous, None).await;
        if self.guest.is_some() {
            let labels = OutcomeLabels { service: peer.service, outcome: "anonymous" };
            self.metrics.logins.get_or_create(&labels).inc();
            peer.admission.logged_in();
            peer.present.logged_in("anonymous");
            tracing::info!(connection, %peer, login = "anonymous", given, "logged in without an account");
        }
    }
}
