//! One thing the server has said, and what follows from it.

use bytes::Bytes;

use super::{
    Capabilities, Client, Error, Event, Idle, Read, Reader, Refused, Request, Sending, State, Untagged,
};
use crate::response::{Code, Completion, Status};

/// Names kept of what a server has enabled.
const ENABLED_MAX: usize = 100;

impl Client {
    /// Takes one step through the input; whether there was enough for one.
    pub(super) fn advance(&mut self) -> bool {
        // What is said to a message that is being sent is heard after it: its octets were announced.
        let sending = matches!(self.sending, Sending::Message { .. });
        if sending || matches!(self.state, State::Handshake | State::Closed) {
            return false;
        }
        match self.reader.next(&mut self.input) {
            Ok(None) => return false,
            Ok(Some(read)) => self.heard(read),
            Err(violation) => self.fail(Error::Protocol(violation)),
        }
        true
    }

    fn heard(&mut self, read: Read) {
        let event = match read {
            Read::Tagged { tag, completion } => return self.answered(tag, completion),
            Read::Continue(text) => return self.continued(&text),
            Read::Untagged(untagged) => match self.told(untagged) {
                Some(untagged) => Event::Untagged(untagged),
                None => return,
            },
            Read::Section { section, octets, so_far } => Event::Section { section, octets, so_far },
            Read::Octets(octets) => Event::Octets(octets),
            Read::SectionEnd => Event::SectionEnd,
            Read::Fetched(fetched) => Event::Fetched(fetched),
        };
        // Before the session is ready, nobody has asked for anything.
        if matches!(self.state, State::Ready) {
            self.events.push_back(event);
        }
    }

    /// Takes what concerns the session; what its owner may want to know comes back.
    fn told(&mut self, untagged: Untagged) -> Option<Untagged> {
        match &untagged {
            Untagged::Capability(words) => self.capabilities = Some(Capabilities::new(words)),
            Untagged::Enabled(names) => {
                let room = ENABLED_MAX.saturating_sub(self.enabled.len());
                self.enabled.extend(names.iter().take(room).cloned());
            }
            Untagged::Condition(completion) | Untagged::PreAuth(completion) => {
                self.note_capabilities(completion)
            }
            _ => {}
        }
        if matches!(self.state, State::Greeting) {
            match untagged {
                Untagged::Condition(Completion { status: Status::Ok, .. }) => self.greeted(),
                Untagged::PreAuth(_) => self.greeted_as_known(),
                Untagged::Bye(completion) | Untagged::Condition(completion) => {
                    self.fail(Error::Greeting(Refused(completion)));
                }
                _ => self.fail(Error::Protocol("a greeting that is none")),
            }
            return None;
        }
        let leaving = self.outstanding.iter().any(|(_, request)| *request == Request::Logout);
        match untagged {
            Untagged::Bye(completion) if !leaving => {
                self.fail(Error::Ended(Refused(completion)));
                None
            }
            untagged => Some(untagged),
        }
    }

    fn note_capabilities(&mut self, completion: &Completion) {
        if let Some(Code::Capability(words)) = &completion.code {
            self.capabilities = Some(Capabilities::new(words.split_ascii_whitespace()));
        }
    }

    fn continued(&mut self, text: &Bytes) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::LoggingIn { tag, login } => return self.login_continued(tag, login, text),
            state => self.state = state,
        }
        match (&self.state, &mut self.sending) {
            (State::Ready, Sending::Pieces(..)) => self.send_piece(),
            (State::Ready, Sending::Idle(idle @ Idle::Asked)) => {
                *idle = Idle::Going;
                self.events.push_back(Event::Idling);
            }
            (State::Ready, Sending::Idle(idle @ Idle::Cancelled)) => {
                *idle = Idle::Going;
                self.idle_done();
            }
            _ => self.fail(Error::Protocol("a challenge that nobody asked for")),
        }
    }

    fn answered(&mut self, tag: String, completion: Completion) {
        self.note_capabilities(&completion);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Preparing { tag: own, what } if own == tag => {
                self.state = State::Ready;
                self.prepared(what, completion);
                if matches!(self.state, State::Handshake) {
                    self.reader = Reader::new();
                }
            }
            State::LoggingIn { tag: own, login } if own == tag => self.login_answered(login, completion),
            State::Ready => {
                self.state = State::Ready;
                self.request_answered(&tag, completion);
            }
            _ => self.fail(Error::Protocol("an answer to something nobody has said")),
        }
    }

    fn request_answered(&mut self, tag: &str, completion: Completion) {
        let position = self.outstanding.iter().position(|(own, _)| own == tag);
        let last = position.is_some_and(|at| at + 1 == self.outstanding.len());
        let Some((_, request)) = position.and_then(|at| self.outstanding.remove(at)) else {
            return self.fail(Error::Protocol("an answer to something nobody has said"));
        };
        // What has not been sent belongs to the last command.
        if last {
            self.sending = Sending::Nothing;
        }
        let leaves = request == Request::Logout;
        self.events.push_back(match completion.status {
            Status::Ok => Event::Done { request, completion },
            Status::No | Status::Bad => Event::Refused { request, completion: Refused(completion) },
        });
        if leaves {
            self.close();
        }
    }
}
