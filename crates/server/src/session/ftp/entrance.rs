//! Who comes, and what they find.

use packetboat_files::{Grant, Mount, Rights, Space, Sync, Tree, VirtualPath};
use packetboat_ftp::server::{Refusal, Server};
use packetboat_wire::Secret;

use super::Ftp;
use super::actions::Here;

impl Ftp {
    pub(super) async fn password(&mut self, session: &mut Server, password: &Secret<String>) {
        let Some(user) = self.user.clone() else { return session.refuse(Refusal::LoginFailed) };
        let login = self.visitor.login(&self.counter, &self.metrics, &self.peer);
        match login.password(&user, None, password).await {
            Ok(identity) => match self.open_home(&identity.login.to_string()) {
                Ok(here) => {
                    self.here = Some(here);
                    self.listed.logged_in(&identity.login.to_string());
                    self.visitor.enter(identity);
                    session.logged_in();
                }
                Err(error) => {
                    tracing::error!(connection = self.peer.id, user, %error, "a home could not be opened");
                    session.refuse(Refusal::LoginUnavailable);
                }
            },
            Err(denied) if denied.is_temporary() => session.refuse(Refusal::LoginUnavailable),
            Err(_) => session.refuse(Refusal::LoginFailed),
        }
    }

    /// The account's own directory, made when it comes for the first time. Its name has the form of an address, so it
    /// leads nowhere else.
    fn open_home(&self, login: &str) -> Result<Here, String> {
        let name = VirtualPath::root().join(login.as_bytes()).map_err(|error| error.to_string())?;
        let home = self.depot.homes.join(name.to_string().trim_start_matches('/'));
        std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let tree = Tree::open(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let (mounts, grants) = (
            vec![Mount { at: VirtualPath::root(), tree }],
            vec![Grant { path: VirtualPath::root(), rights: Rights::ALL }],
        );
        let space = Space::new(mounts, grants, Sync::Never, self.depot.umask);
        Ok(Here { space, directory: VirtualPath::root() })
    }
}
