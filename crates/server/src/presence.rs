//! Who is connected at this moment.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The connections that stand.
#[derive(Debug, Default)]
pub struct Presence {
    guests: Mutex<HashMap<u64, (Guest, Arc<Notify>)>>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The number of the connection, the same as in the log.
    pub connection: u64,
    /// The name of the service, such as `submission`.
    pub service: &'static str,
    /// Its address; none over a local socket.
    pub remote: Option<SocketAddr>,
    /// The account it has logged in as.
    pub login: Option<Box<str>>,
    /// Since when it stands.
    pub since: jiff::Timestamp,
}

/// A connection's name on the list. Taken off when it is dropped.
#[derive(Debug)]
pub struct Present {
    presence: Arc<Presence>,
    connection: u64,
}

impl Presence {
    /// Puts a connection on the list.
    pub fn enter(
        self: &Arc<Presence>,
        connection: u64,
        service: &'static str,
        remote: Option<SocketAddr>,
    ) -> Present {
        let guest = Guest { connection, service, remote, login: None, since: jiff::Timestamp::now() };
        self.guests.lock().insert(connection, (guest, Arc::default()));
        Present { presence: Arc::clone(self), connection }
    }

    /// All of them, the oldest first.
    pub fn guests(&self) -> Vec<Guest> {
        let mut guests: Vec<Guest> = self.guests.lock().values().map(|(guest, _)| guest.clone()).collect();
        guests.sort_by_key(|guest| guest.connection);
        guests
    }

    /// Has those connections ended that are meant, each as soon as what it just does is done. Gives whom it concerns.
    pub fn disconnect(&self, is_meant: impl Fn(&Guest) -> bool) -> Vec<Guest> {
        let mut ended = Vec::new();
        for (guest, cut) in self.guests.lock().values().filter(|(guest, _)| is_meant(guest)) {
            cut.notify_one();
            ended.push(guest.clone());
        }
        ended.sort_by_key(|guest| guest.connection);
        ended
    }
}

impl Present {
    /// The connection has logged in.
    pub fn logged_in(&self, login: &str) {
        if let Some((guest, _)) = self.presence.guests.lock().get_mut(&self.connection) {
            guest.login = Some(login.into());
        }
    }

    /// What tells that an administrator wants the connection to end.
    pub fn cut(&self) -> Arc<Notify> {
        let guests = self.presence.guests.lock();
        guests.get(&self.connection).map(|(_, cut)| Arc::clone(cut)).unwrap_or_default()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presence.guests.lock().remove(&self.connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_come_log_in_and_go() {
        let presence = Arc::new(Presence::default());
        let first = presence.enter(1, "smtp", None);
        let second = presence.enter(2, "pop3", Some(([127, 0, 0, 1], 4711).into()));
        second.logged_in("alice@example.org");
        let told: Vec<_> =
            presence.guests().into_iter().map(|it| (it.connection, it.service, it.login)).collect();
        assert_eq!(told, [(1, "smtp", None), (2, "pop3", Some("alice@example.org".into()))]);
        let ended = presence.disconnect(|guest| guest.login.as_deref() == Some("alice@example.org"));
        assert_eq!(ended.iter().map(|guest| guest.connection).collect::<Vec<_>>(), [2]);
        let is_told = |present: &Present| {
            let (cut, mut context) =
                (present.cut(), std::task::Context::from_waker(std::task::Waker::noop()));
            std::pin::pin!(cut.notified()).poll(&mut context).is_ready()
        };
        assert_eq!((is_told(&first), is_told(&second)), (false, true));
        drop(first);
        assert_eq!(presence.guests().len(), 1);
        drop(second);
        assert_eq!(presence.guests().len(), 0);
    }
}
