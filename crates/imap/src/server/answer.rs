//! What the owner of a session says through it.

use packetboat_wire::TlsFacts;

use super::{Config, Extension, FetchWriter, Kind, Server, State, Work};
use crate::command::ClientId;
use crate::response::{Code, Completion, Esearch, Response, Status};

impl Server {
    /// Says something: in answer to a request, or as news to a client that idles. In other moments it is lost, as nobody
    /// expects it there.
    ///
    /// What the owner need not know is seen to here: a SEARCH is answered by ESEARCH to who has enabled IMAP4rev2, RECENT
    /// is not said to them, and the tag of the command is put where it belongs.
    pub fn say(&mut self, response: &Response) {
        if !self.may_say() {
            return;
        }
        let mode = self.enabled.mode(self.work.tag());
        match (response, &self.work) {
            (Response::Search(numbers, modseq), Work::Asked(asked)) if mode.rev2 => {
                let uid = matches!(asked.kind, Kind::Search { uid: true });
                let modseq = modseq.filter(|_| !numbers.is_empty());
                let esearch = Esearch { uid, all: Some(ranges(numbers)), modseq, ..Esearch::default() };
                Response::Esearch(esearch).render(&mode, &mut self.output);
            }
            _ => response.render(&mode, &mut self.output),
        }
    }

    /// Says something that people are to see at once, whatever the client is doing: "a client MUST be prepared to accept
    /// any server response at all times" (RFC 9051 section 7). Not in the middle of a FETCH response, nor to who has not
    /// logged in.
    pub fn alert(&mut self, text: String) {
        if matches!(self.state, State::Authenticated | State::Selected) {
            let mode = self.enabled.mode("");
            let said = Completion { text: text.into(), ..Completion::ok("").with(Code::Alert) };
            Response::Condition(said).render(&mode, &mut self.output);
        }
    }

    /// Begins a FETCH response for the message of this number.
    pub fn fetch(&mut self, number: u32) -> FetchWriter<'_> {
        FetchWriter::new(number, &self.enabled.mode(""), &mut self.output)
    }

    /// Goes on with a FETCH response, in which an item was said already or not; see [`FetchWriter::begin_section`].
    pub fn fetch_resume(&mut self, begun: bool) -> FetchWriter<'_> {
        FetchWriter::resume(begun, &self.enabled.mode(""), &mut self.output)
    }

    /// Ends the command in hand.
    pub fn complete(&mut self, completion: Completion) {
        let asked = match std::mem::take(&mut self.work) {
            Work::Asked(asked) => asked,
            other => {
                self.work = other;
                // An APPEND ends well only when all of it is there.
                if self.commit_asked() || completion.status != Status::Ok {
                    self.append_refuse(completion);
                }
                return;
            }
        };
        if asked.kind == Kind::Leave && completion.status == Status::Ok {
            self.state = State::Authenticated;
        }
        self.tagged(&asked.tag, &completion);
    }

    /// Ends SELECT or EXAMINE well: the mailbox is selected. READ-WRITE or READ-ONLY is said if the completion has no
    /// other code.
    pub fn selected(&mut self, read_write: bool, completion: Completion) {
        let Work::Asked(asked) = &self.work else { return };
        let Kind::Select { examine } = asked.kind else { return };
        if completion.status != Status::Ok {
            return self.complete(completion);
        }
        self.state = State::Selected;
        let code = if read_write && !examine { Code::ReadWrite } else { Code::ReadOnly };
        let code = completion.code.clone().unwrap_or(code);
        self.complete(completion.with(code));
    }

    /// Ends the session from outside, such as when the account is gone.
    pub fn end(&mut self, code: Option<Code>, text: &'static str) {
        if !matches!(self.state, State::Closed) {
            self.bye(code, text);
        }
    }

    /// Octets said and not yet handed out to be sent.
    pub fn backlog(&self) -> usize {
        self.output.len()
    }

    /// Whether a command is in hand, or the client idles, so that something can be said.
    pub fn may_say(&self) -> bool {
        matches!(self.work, Work::Asked(_) | Work::Idling(_)) || self.commit_asked()
    }

    /// Whether the client idles: news may be said as they come.
    pub fn is_idling(&self) -> bool {
        matches!(self.work, Work::Idling(_))
    }

    /// Whether the client is in the middle of sending a message.
    pub fn is_appending(&self) -> bool {
        matches!(self.work, Work::Appending(_))
    }

    /// Whether an extension is not switched off.
    pub fn offers(&self, extension: Extension) -> bool {
        !self.off.contains(extension)
    }

    /// Whether the client wants modification sequences told (RFC 7162 section 3.1).
    pub fn condstore(&self) -> bool {
        self.enabled.condstore
    }

    /// Whether the client has enabled QRESYNC, and is told VANISHED and not EXPUNGE.
    pub fn qresync(&self) -> bool {
        self.enabled.qresync
    }

    /// Whether the client has enabled IMAP4rev2.
    pub fn rev2(&self) -> bool {
        self.enabled.rev2
    }

    /// Whether the client has enabled UTF8=ACCEPT.
    pub fn utf8(&self) -> bool {
        self.enabled.utf8
    }

    /// What the client told of itself.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_deref()
    }

    /// The TLS connection, if there is one.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_deref()
    }

    /// The settings of the listener.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Ranges of ascending numbers.
fn ranges(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}
