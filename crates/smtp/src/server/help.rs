//! What HELP says (RFC 5321 section 4.1.1.8).

/// Without a topic.
const OVERVIEW: [&str; 5] = [
    "Commands: HELO EHLO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP",
    "STARTTLS AUTH SEND SOML SAML TURN ETRN ATRN",
    "A session: EHLO your.host, MAIL FROM:<sender>, RCPT TO:<recipient>, DATA,",
    "the message, a line with a single dot, QUIT",
    "HELP with a command tells more of it, HELP STATUS how this session stands",
];

/// What is said of each command. Whether it may be used here and now is told by the answer to EHLO.
const TOPICS: [(&str, &[&str]); 21] = [
    ("HELO", &["HELO your.host", "Who you are, without extensions. Say EHLO if you can."]),
    ("EHLO", &["EHLO your.host", "Who you are. The answer lists what this server can do."]),
    ("LHLO", &["LHLO your.host", "As EHLO, where LMTP is spoken."]),
    (
        "MAIL",
        &[
            "MAIL FROM:<sender> [parameter ...]",
            "Begins a message. <> is the sender of a notice.",
            "Parameters: SIZE= BODY= SMTPUTF8 AUTH= RET= ENVID= BY= HOLDFOR= HOLDUNTIL= REQUIRETLS",
        ],
    ),
    (
        "RCPT",
        &[
            "RCPT TO:<recipient> [parameter ...]",
            "One more recipient of the message. <postmaster> is who keeps this server.",
            "Parameters: NOTIFY= ORCPT=",
        ],
    ),
    ("DATA", &["DATA", "The message follows; it ends with a line that is a single dot."]),
    ("BDAT", &["BDAT octets [LAST]", "So many octets of the message follow."]),
    ("RSET", &["RSET", "Forgets the message that was begun."]),
    ("NOOP", &["NOOP", "Does nothing."]),
    ("QUIT", &["QUIT", "Ends the session."]),
    ("VRFY", &["VRFY name-or-address", "Tells whether there is such a mailbox, and whose it is."]),
    ("EXPN", &["EXPN name-or-address", "Tells to whom mail for an alias or list goes."]),
    ("HELP", &["HELP [command]", "This. HELP STATUS tells how this session stands."]),
    ("STARTTLS", &["STARTTLS", "Goes on under TLS."]),
    ("AUTH", &["AUTH mechanism [initial-response]", "Logs in. The mechanisms are in the answer to EHLO."]),
    (
        "SEND",
        &["SEND FROM:<sender>", "As MAIL, to the screens of users who are logged in, and to nobody else."],
    ),
    ("SOML", &["SOML FROM:<sender>", "As SEND for users who are logged in, as MAIL for the others."]),
    ("SAML", &["SAML FROM:<sender>", "As MAIL, and to the screens of users who are logged in."]),
    ("TURN", &["TURN", "You become the server and get the mail that waits for you."]),
    ("ETRN", &["ETRN host.or.domain", "Mail that waits for this host is sent to it now."]),
    ("ATRN", &["ATRN [domain[,domain ...]]", "As TURN, for who has logged in."]),
];

/// The topic that is the session itself.
pub(super) const STATUS: &str = "STATUS";

/// What is said on a topic; `None`: there is no such topic.
pub(super) fn on(topic: Option<&str>) -> Option<&'static [&'static str]> {
    let Some(topic) = topic else { return Some(&OVERVIEW) };
    TOPICS.iter().find(|(verb, _)| verb.eq_ignore_ascii_case(topic)).map(|(_, lines)| *lines)
}
