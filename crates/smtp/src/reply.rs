//! What a server says, chosen by meaning (RFC 5321 section 4.2.3, RFC 4954 section 6, RFC 5248).
//!
//! No number of a reply stands anywhere else in the server half. Texts are for people; programs read the codes.

use std::borrow::Cow;
use std::fmt;

pub use packetboat_wire::{EnhancedCode, Reply, ReplyClass};

type Text = Cow<'static, str>;

/// The code after which a server closes the connection, whenever it sends it (RFC 5321 section 3.8).
pub(crate) const CLOSING_CODE: u16 = 421;

fn reply(code: u16, (subject, detail): (u16, u16), text: impl Into<Text>) -> Reply {
    // "The class of the enhanced status code is the first digit of the basic code" (RFC 2034 section 4).
    Reply::new(code, text).with_enhanced(EnhancedCode { class: (code / 100) as u8, subject, detail })
}

// 2yz: done.

/// 211: how the session stands.
pub fn system_status<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Reply {
    Reply::multi(211, lines).with_enhanced(EnhancedCode::new(2, 0, 0))
}

/// 214: help for a person.
pub fn help<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Reply {
    Reply::multi(214, lines).with_enhanced(EnhancedCode::new(2, 0, 0))
}

/// 220: the greeting. It has no enhanced code (RFC 2034 section 4).
pub fn service_ready(text: impl Into<Text>) -> Reply {
    Reply::new(220, text)
}

/// 220: TLS may begin (RFC 3207 section 4).
pub fn ready_to_start_tls() -> Reply {
    reply(220, (0, 0), "Ready to start TLS")
}

/// 221: answer to QUIT.
pub fn closing() -> Reply {
    reply(221, (0, 0), "Bye")
}

/// 235: the login is right (RFC 4954 section 6).
pub fn authenticated() -> Reply {
    reply(235, (7, 0), "Authentication succeeded")
}

/// 250: done, nothing more to say.
pub fn ok() -> Reply {
    reply(250, (0, 0), "OK")
}

/// 250: answer to HELO, EHLO, LHLO. It has no enhanced code (RFC 2034 section 4).
pub fn hello<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Reply {
    Reply::multi(250, lines)
}

/// 250: the sender is fine.
pub fn sender_ok() -> Reply {
    reply(250, (1, 0), "Sender OK")
}

/// 250: the recipient is fine.
pub fn recipient_ok() -> Reply {
    reply(250, (1, 5), "Recipient OK")
}

/// 250: a chunk has been taken (RFC 3030 section 2).
pub fn chunk_taken(octets: u64) -> Reply {
    reply(250, (0, 0), format!("{octets} octets received"))
}

/// 250: the message is ours now.
pub fn message_accepted(text: impl Into<Text>) -> Reply {
    reply(250, (0, 0), text)
}

/// 250: answer to VRFY or EXPN, one mailbox a line.
pub fn mailboxes<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Reply {
    Reply::multi(250, lines).with_enhanced(EnhancedCode::new(2, 1, 5))
}

/// 251: not here, but will be passed on (RFC 5321 section 3.4).
pub fn will_forward(path: &str) -> Reply {
    reply(251, (1, 5), format!("User not local; will forward to <{path}>"))
}

/// 252: neither yes nor no to VRFY (RFC 5321 section 3.5.3).
pub fn cannot_verify() -> Reply {
    reply(252, (1, 5), "Cannot verify; send a message and it will be tried")
}

/// 250: mail for the node is sent as soon as it can be (RFC 1985 section 5.1).
pub fn queue_started(node: impl fmt::Display) -> Reply {
    reply(250, (0, 0), format!("OK, queuing for node {node} started"))
}

/// 251: there is none (RFC 1985 section 5.1).
pub fn nothing_queued(node: impl fmt::Display) -> Reply {
    reply(251, (0, 0), format!("OK, no messages waiting for node {node}"))
}

/// 253: there is so much of it (RFC 1985 section 5.1).
pub fn messages_started(count: u64, node: impl fmt::Display) -> Reply {
    reply(253, (0, 0), format!("OK, {count} pending messages for node {node} started"))
}

/// 250: from here on the client is the server (RFC 821 section 3.8, RFC 2645 section 5.2.1).
pub fn turning() -> Reply {
    reply(250, (0, 0), "OK, now reversing the connection")
}

/// 252: there is something to tell, in UTF-8, and the client has not asked for that (RFC 6531 section 3.7.4.2).
pub fn answer_needs_utf8() -> Reply {
    reply(252, (6, 8), "The answer needs SMTPUTF8; send a message and it will be tried")
}

// 3yz: go on.

/// 334: a challenge in base64 (RFC 4954 section 4). Empty, it still has its space.
pub fn challenge(base64: impl Into<Text>) -> Reply {
    Reply::new(334, base64)
}

/// 354: the message may come.
pub fn start_mail_input() -> Reply {
    Reply::new(354, "Start mail input; end with <CRLF>.<CRLF>")
}

// 4yz: not now.

/// 421: the server is stopping.
pub fn shutting_down() -> Reply {
    reply(421, (3, 2), "Service shutting down, closing connection")
}

/// 421: what the client logged in with has been changed or taken away.
pub fn access_revoked() -> Reply {
    reply(421, (7, 0), "This account's access has changed, log in again; closing connection")
}

/// 421: the peer has been silent for too long.
pub fn timed_out() -> Reply {
    reply(421, (4, 2), "Timeout, closing connection")
}

/// 421: too many mistakes.
pub fn too_many_errors() -> Reply {
    reply(421, (7, 0), "Too many errors, closing connection")
}

/// 421: too many commands that are not mail.
pub fn too_many_commands() -> Reply {
    reply(421, (7, 0), "Too many commands without mail, closing connection")
}

/// 421: too many messages in one connection.
pub fn too_many_messages() -> Reply {
    reply(421, (7, 0), "Too many messages in this connection, open another")
}

/// 421: too many connections, in all or from this address.
pub fn too_many_connections() -> Reply {
    reply(421, (7, 0), "Too many connections, try again later")
}

/// 432: this account must log in once with a plain password before this mechanism works (RFC 4954 section 6).
pub fn password_transition_needed() -> Reply {
    reply(432, (7, 12), "A password transition is needed")
}

/// 450: the mailbox cannot be used at the moment.
pub fn mailbox_busy() -> Reply {
    reply(450, (2, 1), "Mailbox busy, try again later")
}

/// 450: nobody is there to read a message now (RFC 821 section 3.4).
pub fn user_not_active() -> Reply {
    reply(450, (2, 1), "The user is not logged in, or takes no such messages")
}

/// 450: not all of these domains are yours, or it is too soon (RFC 2645 section 5.2.1).
pub fn turn_refused() -> Reply {
    reply(450, (7, 1), "ATRN request refused")
}

/// 451: a mailbox has gone or filled up since it was accepted.
pub fn recipients_changed() -> Reply {
    reply(451, (2, 0), "A recipient's mailbox has changed meanwhile, send the message again")
}

/// 451: our own fault; a retry may help.
pub fn local_error() -> Reply {
    reply(451, (3, 0), "Local error in processing, try again later")
}

/// 451: policy asks for a later attempt.
pub fn try_later(text: impl Into<Text>) -> Reply {
    reply(451, (7, 1), text)
}

/// 452: the disk is nearly full.
pub fn insufficient_storage() -> Reply {
    reply(452, (3, 1), "Insufficient system storage, try again later")
}

/// 452: the mailbox is full, which its owner may mend.
pub fn mailbox_full_for_now() -> Reply {
    reply(452, (2, 2), "Mailbox full, try again later")
}

/// 452: those before are accepted, this one needs another transaction (RFC 5321 section 4.5.3.1.10).
pub fn too_many_recipients() -> Reply {
    reply(452, (5, 3), "Too many recipients, send the rest in another transaction")
}

/// 453: there is nothing to turn around for (RFC 2645 section 5.2.1).
pub fn no_mail() -> Reply {
    reply(453, (0, 0), "You have no mail")
}

/// 458: the queue cannot be looked at now (RFC 1985 section 5.1).
pub fn queue_unavailable(node: impl fmt::Display) -> Reply {
    reply(458, (3, 0), format!("Unable to queue messages for node {node}"))
}

/// 459: not for you, or not from here (RFC 1985 section 5.1).
pub fn node_not_allowed(node: impl fmt::Display, why: &str) -> Reply {
    reply(459, (7, 1), format!("Node {node} not allowed: {why}"))
}

/// 454: the login could not be checked (RFC 4954 section 6).
pub fn authentication_unavailable() -> Reply {
    reply(454, (7, 0), "Temporary authentication failure")
}

/// 454: TLS cannot begin (RFC 3207 section 4).
pub fn tls_unavailable() -> Reply {
    reply(454, (7, 0), "TLS not available at the moment")
}

// 50z: the line itself is wrong.

/// 500: no such command.
pub fn unknown_command() -> Reply {
    reply(500, (5, 1), "Command not recognized")
}

/// 500: too long a command line (RFC 5321 section 4.5.3.1.4).
pub fn line_too_long() -> Reply {
    reply(500, (5, 2), "Line too long")
}

/// 500: too long a line in a login (RFC 4954 section 4).
pub fn authentication_line_too_long() -> Reply {
    reply(500, (5, 6), "Authentication exchange line is too long")
}

/// 500: a line ended by CR or LF alone.
pub fn bare_line_ending() -> Reply {
    reply(500, (5, 2), "Lines end with CRLF, not with CR or LF alone")
}

/// 501: characters that may not stand in a command.
pub fn invalid_characters() -> Reply {
    reply(501, (5, 2), "Invalid characters in command")
}

/// 501: the argument is missing or wrong.
pub fn wrong_argument(text: impl Into<Text>) -> Reply {
    reply(501, (5, 4), text)
}

/// 501: the sender is no address.
pub fn sender_syntax() -> Reply {
    reply(501, (1, 7), "Bad sender address syntax")
}

/// 501: the recipient is no address.
pub fn recipient_syntax() -> Reply {
    reply(501, (1, 3), "Bad recipient address syntax")
}

/// 501: the client gave up the login (RFC 4954 section 4).
pub fn authentication_cancelled() -> Reply {
    reply(501, (7, 0), "Authentication cancelled")
}

/// 501: what should be base64 is not (RFC 4954 section 4).
pub fn not_base64() -> Reply {
    reply(501, (5, 2), "Cannot decode base64")
}

/// 501: an initial response with a mechanism in which the server begins (RFC 4954 section 4).
pub fn unexpected_initial_response() -> Reply {
    reply(501, (7, 0), "This mechanism takes no initial response")
}

/// 502: a command that exists, but not here.
pub fn not_implemented() -> Reply {
    reply(502, (5, 1), "Command not implemented")
}

/// 503: not now, something else comes first.
pub fn bad_sequence(text: impl Into<Text>) -> Reply {
    reply(503, (5, 1), text)
}

/// 504: a value of a parameter that is not known.
pub fn parameter_not_implemented() -> Reply {
    reply(504, (5, 4), "Command parameter not implemented")
}

/// 504: there is no such topic (RFC 5321 section 4.3.2).
pub fn no_help() -> Reply {
    reply(504, (5, 4), "No help on that, say HELP alone")
}

/// 504: no such mechanism (RFC 4954 section 4).
pub fn unknown_mechanism() -> Reply {
    reply(504, (5, 4), "Unrecognized authentication mechanism")
}

// 53z: who are you?

/// 530: not without a login (RFC 4954 section 6).
pub fn authentication_required() -> Reply {
    reply(530, (7, 0), "Authentication required")
}

/// 530: not without TLS (RFC 3207 section 4).
pub fn tls_required() -> Reply {
    reply(530, (7, 0), "Must issue a STARTTLS command first")
}

/// 534: this account may not use this mechanism.
pub fn mechanism_too_weak() -> Reply {
    reply(534, (7, 9), "Authentication mechanism is too weak")
}

/// 535: wrong name or password; which of them is not said.
pub fn credentials_invalid() -> Reply {
    reply(535, (7, 8), "Authentication credentials invalid")
}

/// 538: this mechanism needs TLS around it.
pub fn encryption_required() -> Reply {
    reply(538, (7, 11), "Encryption required for requested authentication mechanism")
}

// 55z: no.

/// 550: no such mailbox.
pub fn mailbox_unavailable() -> Reply {
    reply(550, (1, 1), "Mailbox unavailable: no such user here")
}

/// 550: no such domain.
pub fn domain_unknown() -> Reply {
    reply(550, (1, 2), "No such domain")
}

/// 550: the mailbox exists and takes no mail.
pub fn mailbox_disabled() -> Reply {
    reply(550, (2, 1), "Mailbox disabled, not accepting messages")
}

/// 550: we carry no mail from you to there.
pub fn relaying_denied() -> Reply {
    reply(550, (7, 1), "Relaying denied")
}

/// 550: policy says no.
pub fn refused_by_policy(text: impl Into<Text>) -> Reply {
    reply(550, (7, 1), text)
}

/// 550: the sender is written beyond ASCII without SMTPUTF8 (RFC 6531 section 3.5).
pub fn sender_needs_utf8() -> Reply {
    reply(550, (6, 7), "Non-ASCII sender address needs SMTPUTF8")
}

/// 551: not here, try there (RFC 5321 section 3.4).
pub fn user_not_local(path: &str) -> Reply {
    reply(551, (1, 6), format!("User not local; please try <{path}>"))
}

/// 552: the mailbox is full, and a retry will not help.
pub fn mailbox_full() -> Reply {
    reply(552, (2, 2), "Mailbox full, quota exceeded")
}

/// 552: the message is larger than the server takes (RFC 1870 section 6).
pub fn message_too_big(max: u64) -> Reply {
    reply(552, (3, 4), format!("Message size exceeds the limit of {max} octets"))
}

/// 553: a sender this account may not use.
pub fn sender_not_owned() -> Reply {
    reply(553, (7, 1), "Sender address not owned by the authenticated user")
}

/// 553: a sender without a domain.
pub fn sender_domain_missing() -> Reply {
    reply(553, (1, 7), "Sender address needs a domain")
}

/// 553: a recipient without a domain.
pub fn recipient_domain_missing() -> Reply {
    reply(553, (1, 3), "Recipient address needs a domain")
}

/// 553: several mailboxes are meant (RFC 5321 section 3.5.1); without any they are not told.
pub fn ambiguous<T: AsRef<str>>(mailboxes: impl IntoIterator<Item = T>) -> Reply {
    let mailboxes: Vec<T> = mailboxes.into_iter().collect();
    let head = if mailboxes.is_empty() { "User ambiguous" } else { "Ambiguous; possibilities are" };
    let lines = [head].into_iter().chain(mailboxes.iter().map(T::as_ref));
    Reply::multi(553, lines).with_enhanced(EnhancedCode::new(5, 1, 4))
}

/// 553: a name written beyond ASCII without SMTPUTF8 (RFC 6531 section 3.5).
pub fn recipient_needs_utf8() -> Reply {
    reply(553, (6, 7), "Non-ASCII address needs SMTPUTF8")
}

/// 554: no service for this client at all, as a greeting (RFC 5321 section 3.1).
pub fn no_service(text: impl Into<Text>) -> Reply {
    reply(554, (7, 1), text)
}

/// 554: what speaks is no SMTP client.
pub fn foreign_protocol() -> Reply {
    reply(554, (5, 1), "This is an SMTP server, closing connection")
}

/// 554: the transaction failed, for a reason the text tells.
pub fn transaction_failed(text: impl Into<Text>) -> Reply {
    reply(554, (0, 0), text)
}

/// 554: DATA, but every recipient was refused.
pub fn no_valid_recipients() -> Reply {
    reply(554, (5, 1), "No valid recipients")
}

/// 554: the message has line endings that mean an end of data to some servers (RFC 5321 section 4.1.1.4).
pub fn bare_newline_in_message() -> Reply {
    reply(554, (6, 0), "Message refused: it has CR or LF characters that are not part of a CRLF")
}

/// 554: the message has been through too many servers (RFC 5321 section 6.3).
pub fn mail_loop() -> Reply {
    reply(554, (4, 6), "Too many hops, this looks like a mail loop")
}

/// 555: the message is to be returned sooner than this server works (RFC 2852 section 3).
pub fn too_short_a_time(least: u32) -> Reply {
    reply(555, (5, 4), format!("Delivery takes {least} seconds at least"))
}

/// 555: a parameter of MAIL or RCPT that was not offered.
pub fn unknown_parameter() -> Reply {
    reply(555, (5, 4), "MAIL or RCPT parameter not recognized or not implemented")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_tables() {
        for (reply, expected) in [
            (system_status(["x"]), "211 2.0.0"),
            (help(["x"]), "214 2.0.0"),
            (service_ready("x"), "220 x"),
            (closing(), "221 2.0.0"),
            (authenticated(), "235 2.7.0"),
            (ok(), "250 2.0.0"),
            (hello(["x"]), "250 x"),
            (will_forward("x"), "251 2.1.5"),
            (cannot_verify(), "252 2.1.5"),
            (queue_started("x"), "250 2.0.0"),
            (nothing_queued("x"), "251 2.0.0"),
            (messages_started(1, "x"), "253 2.0.0 OK, 1 pending messages for node x started"),
            (turning(), "250 2.0.0"),
            (turn_refused(), "450 4.7.1"),
            (no_mail(), "453 4.0.0"),
            (queue_unavailable("x"), "458 4.3.0"),
            (node_not_allowed("x", "y"), "459 4.7.1 Node x not allowed: y"),
            (ambiguous(["x"]), "553 5.1.4 Ambiguous"),
            (challenge("x"), "334 x"),
            (start_mail_input(), "354 Start"),
            (shutting_down(), "421 4.3.2"),
            (timed_out(), "421 4.4.2"),
            (mailbox_busy(), "450 4.2.1"),
            (local_error(), "451 4.3.0"),
            (insufficient_storage(), "452 4.3.1"),
            (too_many_recipients(), "452 4.5.3"),
            (tls_unavailable(), "454 4.7.0"),
            (unknown_command(), "500 5.5.1"),
            (authentication_line_too_long(), "500 5.5.6"),
            (wrong_argument("x"), "501 5.5.4"),
            (not_implemented(), "502 5.5.1"),
            (bad_sequence("x"), "503 5.5.1"),
            (parameter_not_implemented(), "504 5.5.4"),
            (authentication_required(), "530 5.7.0"),
            (mechanism_too_weak(), "534 5.7.9"),
            (credentials_invalid(), "535 5.7.8"),
            (encryption_required(), "538 5.7.11"),
            (mailbox_unavailable(), "550 5.1.1"),
            (relaying_denied(), "550 5.7.1"),
            (user_not_local("x"), "551 5.1.6"),
            (mailbox_full(), "552 5.2.2"),
            (message_too_big(1), "552 5.3.4"),
            (recipient_needs_utf8(), "553 5.6.7"),
            (no_valid_recipients(), "554 5.5.1"),
            (unknown_parameter(), "555 5.5.4"),
        ] {
            assert!(reply.to_string().starts_with(expected), "{reply}");
        }
    }
}
