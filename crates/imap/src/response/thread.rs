//! Threads (RFC 5256 section 4).

use bytes::{BufMut, BytesMut};

use crate::response::write;

/// A message and what answers it. A thread may be as deep as it has messages, so nothing here walks it by recursion,
/// except what is derived, which is for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Number or UID; `None` for a parent that is not there.
    pub message: Option<u32>,
    /// Answers.
    pub children: Vec<Thread>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        let mut rest = std::mem::take(&mut self.children);
        while let Some(mut thread) = rest.pop() {
            rest.append(&mut thread.children);
        }
    }
}

/// What is still to be written.
enum Pending<'a> {
    Thread(&'a Thread),
    End,
}

impl Thread {
    /// Whether it has a message anywhere.
    fn has_message(&self) -> bool {
        let mut rest = vec![self];
        while let Some(thread) = rest.pop() {
            if thread.message.is_some() {
                return true;
            }
            rest.extend(&thread.children);
        }
        false
    }

    /// `(3 6 (4 23)(44 7 96))`; nothing if there is no message in it.
    pub(super) fn render(&self, out: &mut BytesMut) {
        let mut pending = vec![Pending::Thread(self)];
        while let Some(next) = pending.pop() {
            let mut thread = match next {
                Pending::Thread(thread) => thread,
                Pending::End => {
                    out.put_u8(b')');
                    continue;
                }
            };
            if thread.message.is_none() && !thread.has_message() {
                continue;
            }
            out.put_u8(b'(');
            let mut first = true;
            loop {
                if let Some(message) = thread.message {
                    if !first {
                        out.put_u8(b' ');
                    }
                    first = false;
                    write::number(message, out);
                }
                let mut children =
                    thread.children.iter().filter(|child| child.message.is_some() || child.has_message());
                match (children.next(), children.next()) {
                    (None, _) => {
                        out.put_u8(b')');
                        break;
                    }
                    (Some(child), None) => thread = child,
                    (Some(_), Some(_)) => {
                        if !first {
                            out.put_u8(b' ');
                        }
                        pending.push(Pending::End);
                        pending.extend(thread.children.iter().rev().map(Pending::Thread));
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(message: u32, children: Vec<Thread>) -> Thread {
        Thread { message: (message > 0).then_some(message), children }
    }

    fn rendered(thread: &Thread) -> String {
        let mut out = BytesMut::new();
        thread.render(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_examples_of_rfc_5256() {
        let one = |message| thread(message, vec![]);
        let second = thread(
            3,
            vec![thread(6, vec![thread(4, vec![one(23)]), thread(44, vec![thread(7, vec![one(96)])])])],
        );
        assert_eq!(rendered(&one(2)), "(2)");
        assert_eq!(rendered(&second), "(3 6 (4 23)(44 7 96))");
        assert_eq!(rendered(&thread(0, vec![one(3), one(5)])), "((3)(5))");
        assert_eq!(rendered(&thread(0, vec![one(3)])), "(3)");
        assert_eq!(rendered(&thread(1, vec![thread(0, vec![one(3), one(5)]), one(4)])), "(1 ((3)(5))(4))");
        assert_eq!(rendered(&thread(0, vec![thread(0, vec![])])), "");
        assert_eq!(rendered(&thread(1, vec![thread(0, vec![]), one(2)])), "(1 2)");
    }

    #[test]
    fn a_thread_of_any_depth() {
        let mut chain = thread(300_000, vec![]);
        for message in (1..300_000).rev() {
            chain = thread(message, vec![chain, thread(message + 1_000_000, vec![])]);
        }
        let text = rendered(&chain);
        assert!(text.starts_with("(1 (2 (3 ") && text.ends_with("(1000002))(1000001))"), "{}", text.len());
    }
}
