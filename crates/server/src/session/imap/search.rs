//! SEARCH, SORT and THREAD.
use super::{Imap, Refused};
use packetboat_imap::command::{Search, SortBy, ThreadAlgorithm};
use packetboat_imap::response::Completion;
use packetboat_imap::server::Server;
impl Imap {
    pub(super) async fn search(&mut self, _: &mut Server, _: Search) -> Refused<Completion> {
        Err(super::convert::unavailable())
    }
    pub(super) async fn sort(&mut self, _: &mut Server, _: &[SortBy], _: Search) -> Refused<Completion> {
        Err(super::convert::unavailable())
    }
    pub(super) async fn thread(
        &mut self,
        _: &mut Server,
        _: ThreadAlgorithm,
        _: Search,
    ) -> Refused<Completion> {
        Err(super::convert::unavailable())
    }
}
