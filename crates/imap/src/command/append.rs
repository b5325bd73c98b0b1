//! APPEND and REPLACE, whose messages are not held but passed on as they come.

use super::date::date_time;
use super::lexer::{Lexer, LiteralHead, Result};
use super::store::flag_list;
use super::{Append, CommandError};
use crate::value::{Flag, Messages};

/// What stands before a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageHead {
    pub(crate) flags: Vec<Flag>,
    /// Microseconds since the epoch.
    pub(crate) date: Option<i64>,
    pub(crate) literal: LiteralHead,
    /// Came as `UTF8 (~{n}` (RFC 6855 section 4), and a parenthesis has to follow.
    pub(crate) utf8: bool,
}

/// Whether a command, without its tag, is one of those.
pub(crate) fn is_append(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text, false);
    lexer.eat_word("APPEND")
        || lexer.eat_word("REPLACE")
        || (lexer.eat_word("UID") && lexer.eat(b' ') && lexer.eat_word("REPLACE"))
}

/// Reads the command up to the announcement of its first message, with which the text ends. Where that announcement is
/// the mailbox name's, the error is [`CommandError::Incomplete`].
pub(crate) fn begin(text: &[u8], utf8: bool) -> Result<(Append, MessageHead)> {
    let mut lexer = Lexer::new(text, utf8);
    let uid = lexer.eat_word("UID") && lexer.eat(b' ');
    let replaces = if lexer.eat_word("REPLACE") {
        lexer.sp()?;
        let target = lexer.target(uid)?;
        // RFC 8508 section 3.1: one message.
        let one = match &target.messages {
            Messages::Set(set) => matches!(set.ranges(), [(first, last)] if first == last),
            Messages::Saved => false,
        };
        if !one {
            return Err(CommandError::Syntax("REPLACE takes one message number"));
        }
        Some(target)
    } else if !uid && lexer.eat_word("APPEND") {
        None
    } else {
        return Err(CommandError::Unknown);
    };
    lexer.sp()?;
    let mailbox = lexer.mailbox()?;
    let head = message(lexer)?;
    Ok((Append { mailbox, replaces }, head))
}

/// What follows a message in the same command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another message (RFC 3502).
    Message(MessageHead),
    /// The command ends.
    End,
}

/// Reads the line after a message: it ends the command, or announces another message.
pub(crate) fn next(text: &[u8], after_utf8: bool, utf8: bool) -> Result<Next> {
    let mut lexer = Lexer::new(text, utf8);
    if after_utf8 {
        lexer.expect(b')', "a parenthesis is missing")?;
    }
    if lexer.end().is_ok() {
        return Ok(Next::End);
    }
    message(lexer).map(Next::Message)
}

/// `append-message = [SP flag-list] [SP date-time] SP append-data`
fn message(mut lexer: Lexer<'_>) -> Result<MessageHead> {
    lexer.sp()?;
    let mut flags = Vec::new();
    if lexer.peek() == Some(b'(') {
        flags = flag_list(&mut lexer)?;
        lexer.sp()?;
    }
    let mut date = None;
    if lexer.peek() == Some(b'"') {
        date = Some(date_time(&mut lexer)?);
        lexer.sp()?;
    }
    let utf8 = lexer.eat_word("UTF8");
    if utf8 {
        lexer.sp()?;
        lexer.expect(b'(', "a parenthesis is missing")?;
    }
    let literal = lexer.literal_head().map_err(|_| CommandError::Syntax("a message comes as a literal"))?;
    if utf8 && !literal.binary {
        return Err(CommandError::Syntax("UTF8 takes a literal8"));
    }
    lexer.end()?;
    Ok(MessageHead { flags, date, literal, utf8 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn beginnings() {
        let (append, head) =
            begin(br#"APPEND Sent (\Seen \Recent $a) " 1-Jan-1970 00:00:01 +0000" {310+}"#, false).unwrap();
        assert_eq!(append.mailbox.as_str(), "Sent");
        assert_eq!(append.replaces, None);
        assert_eq!(head.flags, [Flag::Seen, Flag::Keyword("$a".into())]);
        assert_eq!(head.date, Some(1_000_000));
        assert_eq!(head.literal, LiteralHead { octets: 310, synchronizing: false, binary: false });

        let (append, head) = begin(b"uid replace 7 {4}\r\nSent UTF8 (~{10}", false).unwrap();
        assert!(append.replaces.unwrap().uid);
        assert!(head.utf8 && head.literal.binary && head.literal.synchronizing);

        assert_eq!(begin(b"APPEND {4}", false).unwrap_err(), CommandError::Incomplete);
        for text in [
            "APPEND Sent",
            "APPEND Sent (\\Seen) \"x\" {3}",
            "APPEND Sent (\\Seen{3}",
            "APPEND Sent {3} ",
            "REPLACE 1:2 Sent {3}",
            "REPLACE $ Sent {3}",
            "APPEND Sent UTF8 ({3}",
            "APPEND Sent CATENATE (TEXT {3}",
        ] {
            let result = begin(text.trim_end().as_bytes(), false);
            assert_eq!(result.is_err(), !text.ends_with(' '), "{text}: {result:?}");
        }
    }

    #[test]
    fn what_follows() {
        assert_eq!(next(b"", false, false), Ok(Next::End));
        assert_eq!(next(b")", true, false), Ok(Next::End));
        assert!(next(b"", true, false).is_err());
        assert!(next(b" x", false, false).is_err());
        assert!(matches!(next(b" (\\Draft) {3}", false, false), Ok(Next::Message(_))));
        assert!(matches!(next(b") {3}", true, false), Ok(Next::Message(_))));
    }
}
