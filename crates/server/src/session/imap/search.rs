//! SEARCH, SORT and THREAD.

use std::time::Duration;

use packetboat_imap::command::{self, Search, SearchKey, SearchReturn};
use packetboat_imap::response::{Code, Completion, Esearch, Response, Thread};
use packetboat_imap::server::Server;
use packetboat_imap::value::Flag;
use packetboat_mail::mailbox::{self, DateTest, InThread, Picked, Query, SortBy, SortKey, Threading};
use packetboat_store::Flags;

use super::convert::{self, refused};
use super::{Ending, Imap, Refused, Work};

/// A search that takes longer tells how far it is (RFC 9585).
const PATIENCE: Duration = Duration::from_secs(5);

/// A search that is under way, and what becomes of what it finds.
#[derive(Debug)]
pub(super) struct Searching {
    /// `None` when it is done.
    search: Option<mailbox::Search>,
    wanted: Wanted,
    uid: bool,
    /// Whether the highest modification sequence is told.
    modseq: bool,
}

#[derive(Debug)]
enum Wanted {
    Search(Option<SearchReturn>),
    Sort(Vec<SortBy>),
    Thread(Threading),
}

impl Searching {
    /// Whether numbers may change when it ends.
    pub(super) fn expunges(&self) -> bool {
        self.uid
    }
}

impl Imap {
    pub(super) async fn search(&mut self, session: &mut Server, search: Search) -> Refused<Option<Ending>> {
        let wanted = Wanted::Search(search.returns);
        self.begin_search(session, search, wanted).await
    }

    pub(super) async fn sort(
        &mut self,
        session: &mut Server,
        order: &[command::SortBy],
        search: Search,
    ) -> Refused<Option<Ending>> {
        let order = order.iter().map(|by| SortBy { reverse: by.reverse, key: sort_key(by.key) }).collect();
        self.begin_search(session, search, Wanted::Sort(order)).await
    }

    pub(super) async fn thread(
        &mut self,
        session: &mut Server,
        algorithm: command::ThreadAlgorithm,
        search: Search,
    ) -> Refused<Option<Ending>> {
        let threading = match algorithm {
            command::ThreadAlgorithm::OrderedSubject => Threading::OrderedSubject,
            command::ThreadAlgorithm::References => Threading::References,
        };
        self.begin_search(session, search, Wanted::Thread(threading)).await
    }

    async fn begin_search(
        &mut self,
        session: &mut Server,
        search: Search,
        wanted: Wanted,
    ) -> Refused<Option<Ending>> {
        let saves = matches!(wanted, Wanted::Search(Some(SearchReturn { save: true, .. })));
        let begun = self.look(&search).await;
        if saves {
            // RFC 5182 section 2.1: a search that fails leaves nothing saved.
            self.saved.clear();
        }
        let modseq = has_modseq(&search.key);
        let searching = Searching { search: Some(begun?), wanted, uid: search.uid, modseq };
        self.work = Some(Work::Search(Box::new(searching)));
        self.resume(session).await;
        Ok(None)
    }

    async fn look(&mut self, search: &Search) -> Refused<mailbox::Search> {
        let query = self.query(&search.key)?;
        let now = jiff::Timestamp::now().as_microsecond();
        self.selected()?.search(&query, now).await.map_err(|e| refused(&e))
    }

    /// Works on the search. `None`: it is not done yet, and the client was told so.
    pub(super) async fn go_on_searching(
        &mut self,
        session: &mut Server,
        searching: &mut Searching,
    ) -> Refused<Option<Completion>> {
        let Some(selected) = self.selected.as_deref() else { return Err(convert::unavailable()) };
        let Some(mut search) = searching.search.take() else { return Err(convert::unavailable()) };
        if !search.work(selected, PATIENCE).await.map_err(|e| refused(&e))? {
            let (done, of) = search.progress();
            searching.search = Some(search);
            let progress = Code::InProgress(Some((done, Some(of))));
            session.say(&Response::Condition(Completion::ok("Still searching").with(progress)));
            return Ok(None);
        }
        let found = search.found();
        match &searching.wanted {
            Wanted::Search(returns) => {
                let highest = searching.modseq.then(|| selected.highest_modseq_of(&found)).flatten();
                match returns {
                    None => session.say(&Response::Search(numbers(&found, searching.uid), highest)),
                    Some(returns) => {
                        if let Some(esearch) = answer(&found, returns, searching.uid, highest) {
                            session.say(&Response::Esearch(esearch));
                        }
                        if returns.save {
                            self.saved = saved(&found, returns);
                        }
                    }
                }
            }
            Wanted::Sort(order) => {
                let sorted = selected.sort(&found, order).await.map_err(|e| refused(&e))?;
                let which = |(number, uid): (u32, u32)| if searching.uid { uid } else { number };
                let highest = searching.modseq.then(|| selected.highest_modseq_of(&found)).flatten();
                session.say(&Response::Sort(sorted.into_iter().map(which).collect(), highest));
            }
            Wanted::Thread(threading) => {
                let threads = selected.threads(&found, *threading).await.map_err(|e| refused(&e))?;
                session.say(&Response::Thread(nested(threads, searching.uid)));
            }
        }
        Ok(Some(Completion::ok("Searched")))
    }

    fn query(&mut self, key: &SearchKey) -> Refused<Query> {
        Ok(match key {
            SearchKey::All | SearchKey::SaveDateSupported => Query::And(Vec::new()),
            SearchKey::And(keys) => {
                Query::And(keys.iter().map(|key| self.query(key)).collect::<Refused<Vec<_>>>()?)
            }
            SearchKey::Or(one, other) => Query::Or(vec![self.query(one)?, self.query(other)?]),
            SearchKey::Not(key) => Query::Not(Box::new(self.query(key)?)),
            SearchKey::Messages(target) => Query::Uids(self.pick(target)?.uids()),
            SearchKey::Flag(Flag::Recent) => Query::Recent,
            SearchKey::Flag(Flag::Keyword(keyword)) => Query::Keyword(keyword.clone()),
            SearchKey::Flag(flag) => Query::Flags(Flags(flag.system().map_or(0, |bit| u64::from(bit.0)))),
            SearchKey::Header { name, text } => Query::Header { name: name.clone(), text: text.clone() },
            SearchKey::Body(text) => Query::Body(text.clone()),
            SearchKey::Text(text) => Query::Text(text.clone()),
            SearchKey::Internal(test) => Query::Internal(date_test(*test)),
            SearchKey::Sent(test) => Query::Sent(date_test(*test)),
            SearchKey::Saved(test) => Query::Saved(date_test(*test)),
            SearchKey::Larger(octets) => Query::Larger(*octets),
            SearchKey::Smaller(octets) => Query::Smaller(*octets),
            SearchKey::Older(seconds) => Query::Older(seconds.get()),
            SearchKey::Younger(seconds) => Query::Younger(seconds.get()),
            SearchKey::ModSeq(modseq) => Query::ModSeq(*modseq),
            SearchKey::EmailId(id) => match id.strip_prefix('M').map(|id| u128::from_str_radix(id, 16)) {
                Some(Ok(body)) => Query::EmailId(body),
                _ => nothing(),
            },
            SearchKey::ThreadId(id) => match id.strip_prefix('T').map(|id| u64::from_str_radix(id, 16)) {
                Some(Ok(root)) => Query::ThreadId(root),
                _ => nothing(),
            },
        })
    }
}

/// What no message is.
fn nothing() -> Query {
    Query::Or(Vec::new())
}

fn has_modseq(key: &SearchKey) -> bool {
    match key {
        SearchKey::ModSeq(_) => true,
        SearchKey::And(keys) => keys.iter().any(has_modseq),
        SearchKey::Or(one, other) => has_modseq(one) || has_modseq(other),
        SearchKey::Not(key) => has_modseq(key),
        _ => false,
    }
}

fn date_test(test: command::DateTest) -> DateTest {
    match test {
        command::DateTest::Before(day) => DateTest::Before(day.0),
        command::DateTest::On(day) => DateTest::On(day.0),
        command::DateTest::Since(day) => DateTest::Since(day.0),
    }
}

fn sort_key(key: command::SortKey) -> SortKey {
    match key {
        command::SortKey::Arrival => SortKey::Arrival,
        command::SortKey::Cc => SortKey::Cc,
        command::SortKey::Date => SortKey::Date,
        command::SortKey::From => SortKey::From,
        command::SortKey::Size => SortKey::Size,
        command::SortKey::Subject => SortKey::Subject,
        command::SortKey::To => SortKey::To,
        command::SortKey::DisplayFrom => SortKey::DisplayFrom,
        command::SortKey::DisplayTo => SortKey::DisplayTo,
    }
}

fn numbers(found: &Picked, uid: bool) -> Vec<u32> {
    found.each().map(|(number, of)| if uid { of } else { number }).collect()
}

fn ranges(found: &Picked, uid: bool) -> Vec<(u32, u32)> {
    if uid { found.uids() } else { found.numbers().to_vec() }
}

/// What a search with RETURN says; nothing if it only saves (RFC 5182 section 2.1).
fn answer(found: &Picked, returns: &SearchReturn, uid: bool, modseq: Option<u64>) -> Option<Esearch> {
    let SearchReturn { min, max, all, count, save: _, partial } = *returns;
    if !(min || max || all || count || partial.is_some()) {
        return None;
    }
    let ends = found.ends().map(|(first, last)| {
        let which = |number| if uid { found.uid_of(number).unwrap_or(number) } else { number };
        (which(first), which(last))
    });
    Some(Esearch {
        uid,
        min: ends.map(|(first, _)| first).filter(|_| min),
        max: ends.map(|(_, last)| last).filter(|_| max),
        all: all.then(|| ranges(found, uid)),
        count: count.then(|| found.len()),
        partial: partial.map(|partial| {
            let part = found.part(partial.first.get(), partial.last.get(), partial.from_end);
            (partial, ranges(&part, uid))
        }),
        modseq,
    })
}

/// UIDs that `$` stands for afterwards: with MIN or MAX and neither ALL nor COUNT only those (RFC 5182 section 2.4).
fn saved(found: &Picked, returns: &SearchReturn) -> Vec<(u32, u32)> {
    if !(returns.min || returns.max) || returns.all || returns.count || returns.partial.is_some() {
        return found.uids();
    }
    let Some((first, last)) = found.ends() else { return Vec::new() };
    let ends = [(returns.min, first), (returns.max && (last != first || !returns.min), last)];
    let uids = ends.into_iter().filter(|(wanted, _)| *wanted).filter_map(|(_, number)| found.uid_of(number));
    uids.map(|uid| (uid, uid)).collect()
}

/// Threads in the form of a tree. None of this recurses: a thread may be as deep as the mailbox is large.
fn nested(threads: Vec<InThread>, uid: bool) -> Vec<Thread> {
    let mut roots = Vec::new();
    let mut open: Vec<Thread> = Vec::new();
    let close = |open: &mut Vec<Thread>, roots: &mut Vec<Thread>| {
        if let Some(thread) = open.pop() {
            open.last_mut().map_or(roots, |parent| &mut parent.children).push(thread);
        }
    };
    for InThread { depth, message } in threads {
        while open.len() > depth as usize {
            close(&mut open, &mut roots);
        }
        let message = message.map(|(number, of)| if uid { of } else { number });
        open.push(Thread { message, children: Vec::new() });
    }
    while !open.is_empty() {
        close(&mut open, &mut roots);
    }
    roots
}
