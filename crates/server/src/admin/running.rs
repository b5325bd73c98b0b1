//! The server that runs, as commands see it.

use std::pin::Pin;

use super::execute::Running;
use super::item::Connection;
use crate::server::Context;
use crate::shutdown::Phase;

impl Running for Context {
    fn connections(&self) -> Vec<Connection> {
        let told = |guest: crate::presence::Guest| Connection {
            connection: guest.connection,
            service: guest.service.to_owned(),
            peer: guest.remote.map(|remote| remote.ip()),
            login: guest.login.map(String::from),
            since: guest.since,
        };
        self.presence.guests().into_iter().map(told).collect()
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
