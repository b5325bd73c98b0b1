//! The server that runs, as commands see it.

use std::pin::Pin;

use super::execute::Running;
use super::item::Connection;
use super::request::Guests;
use crate::presence::Guest;
use crate::server::Context;
use crate::shutdown::Phase;

impl Context {
    fn told(&self, guest: Guest) -> Connection {
        Connection {
            connection: guest.connection,
            service: guest.service.to_owned(),
            peer: guest.remote.map(|remote| remote.ip()),
            login: guest.login.map(String::from),
            since: guest.since,
            files: self.transfers.of(guest.connection),
        }
    }
}

impl Running for Context {
    fn connections(&self) -> Vec<Connection> {
        self.presence.guests().into_iter().map(|guest| self.told(guest)).collect()
    }

    fn disconnect(&self, which: &Guests) -> Vec<Connection> {
        let is_meant = |guest: &Guest| match which {
            Guests::Connection(number) => guest.connection == *number,
            Guests::Account(login) => guest.login.as_deref() == Some(login.as_str()),
            Guests::Network(network) => {
                guest.remote.is_some_and(|remote| network.contains(&remote.ip().to_canonical()))
            }
        };
        self.presence.disconnect(is_meant).into_iter().map(|guest| self.told(guest)).collect()
    }

    fn metrics(&self) -> String {
        self.metrics.text()
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(self.reload())
    }

    fn stop(&self) {
        self.shutdown.enter(Phase::Stopping);
    }
}
