//! The dialogues of `docs/imap.md` are what the server says.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use support::{Demo, Imap, deliver};

const DOCUMENT: &str = include_str!("../../../docs/imap.md");

/// The mailbox the document is about.
fn letters() -> [Vec<u8>; 3] {
    let office = |subject: &str, hour: u32, text: &str| {
        format!(
            "From: Harbour Office <office@harbour.test>\r\nTo: Alice <alice@demo.test>\r\nSubject: {subject}\r\n\
             Date: Tue, 01 Jul 2025 0{}:00:00 +0000\r\nMessage-ID: <{hour}@harbour.test>\r\n\r\n{text}\r\n",
            8 + hour
        )
    };
    let film = "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDE=\r\n".repeat(80_000);
    let with_film = format!(
        "From: Bob <bob@demo.test>\r\nTo: Alice <alice@demo.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_vom_Kai?=\r\n\
         Date: Tue, 01 Jul 2025 10:00:00 +0000\r\nMessage-ID: <kai@demo.test>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=kai\r\n\r\n\
         --kai\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         Das Schiff lief p=C3=BCnktlich aus.\r\n\
         --kai\r\nContent-Type: video/mp4; name=ship.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n{film}--kai--\r\n"
    );
    let plain = [
        office("Timetable", 0, "The ferry to Kiel leaves at nine."),
        office("Invoice 17", 1, "Please find it enclosed."),
    ];
    let [first, second] = plain.map(String::into_bytes);
    [first, second, with_film.into_bytes()]
}

/// Without what differs from one server to the next: numbers made of a time, and names of mailboxes.
fn steady(line: &str) -> String {
    let mut steady = String::new();
    for word in line.trim_end().split_inclusive([' ', '(', ')', ']']) {
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        steady += if digits >= 10 { &word[digits..] } else { word };
    }
    let id = steady.find("[MAILBOXID (");
    id.map_or(steady.clone(), |at| steady[..at].to_owned())
}

/// The UIDVALIDITY that the document's mailbox has.
const UID_VALIDITY: &str = "1795271512";

#[test]
fn the_document_tells_what_the_server_says() {
    let demo = Demo::start();
    let login = || Imap::login(demo.at("imap"), "alice@demo.test");
    let mut first = login();
    for letter in letters() {
        first.append("INBOX", &letter);
    }
    let status = first.ok("STATUS INBOX (UIDVALIDITY)").text();
    let uid_validity: String = status.chars().filter(char::is_ascii_digit).collect();
    // Who has no name speaks first; the telephone and the laptop have both selected the inbox, in that order.
    let mut sessions = HashMap::from([("", login()), ("tablet", login())]);
    let mut compared = 0;
    for line in DOCUMENT.lines() {
        let Some((who, said)) = line.split_once("C: ").or_else(|| line.split_once("S:")) else { continue };
        if !["", "phone  ", "laptop ", "tablet "].contains(&who) {
            continue;
        }
        if who.starts_with("phone") && sessions.len() == 2 {
            for name in ["phone", "laptop"] {
                let mut session = login();
                session.ok("SELECT INBOX");
                sessions.insert(name, session);
            }
        }
        let session = sessions.get_mut(who.trim()).unwrap();
        if line.starts_with(&format!("{who}C: ")) {
            session.send(format!("{}\r\n", said.replace(UID_VALIDITY, &uid_validity)).as_bytes());
            continue;
        }
        let told = said.strip_prefix(' ').unwrap_or(said);
        if who.starts_with("phone") && told.ends_with(" EXISTS") {
            deliver(demo.at("smtp"), "alice@demo.test", b"Subject: Now\r\n\r\nIt leaves.\r\n");
        }
        assert_eq!(steady(&session.line()), steady(told), "{who} after {compared} lines");
        compared += 1;
    }
    assert!(compared > 100, "{compared} lines");
}
