//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2).
//!
//! Where the RFC leaves a choice, it is made as the usual servers make it, so that clients see nothing new: types are
//! spelt as the message has them, and a text without a charset gets `us-ascii`.

use bytes::{BufMut, BytesMut};
use packetboat_message::envelope::{Addresses, Envelope};
use packetboat_message::structure::{Kind, Params, Part};

use super::FetchWriter;
use crate::response::write;

impl FetchWriter<'_> {
    /// ENVELOPE
    pub fn envelope(&mut self, envelope: &Envelope<'_>) -> &mut Self {
        let utf8 = self.utf8;
        write_envelope(envelope, utf8, self.item(b"ENVELOPE "));
        self
    }

    /// BODY, which is BODYSTRUCTURE without what was added later.
    pub fn body(&mut self, root: &Part<'_>) -> &mut Self {
        let form = Form { utf8: self.utf8, extended: false };
        form.part(root, self.item(b"BODY "));
        self
    }

    /// BODYSTRUCTURE
    pub fn body_structure(&mut self, root: &Part<'_>) -> &mut Self {
        let form = Form { utf8: self.utf8, extended: true };
        form.part(root, self.item(b"BODYSTRUCTURE "));
        self
    }
}

fn write_envelope(envelope: &Envelope<'_>, utf8: bool, out: &mut BytesMut) {
    let text = |value: Option<&[u8]>, out: &mut BytesMut| {
        write::nstring(value, utf8, out);
        out.put_u8(b' ');
    };
    out.put_u8(b'(');
    text(envelope.date, out);
    text(envelope.subject, out);
    for list in [envelope.from, envelope.sender, envelope.reply_to, envelope.to, envelope.cc, envelope.bcc] {
        addresses(list, utf8, out);
        out.put_u8(b' ');
    }
    text(envelope.in_reply_to, out);
    write::nstring(envelope.message_id, utf8, out);
    out.put_u8(b')');
}

fn addresses(list: Addresses<'_>, utf8: bool, out: &mut BytesMut) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.put_u8(b'(');
    for address in list {
        let mut before = b'(';
        for part in [address.name, address.route, address.mailbox, address.host] {
            out.put_u8(before);
            write::nstring(part, utf8, out);
            before = b' ';
        }
        out.put_u8(b')');
    }
    out.put_u8(b')');
}

/// How structures are written.
#[derive(Clone, Copy)]
struct Form {
    utf8: bool,
    /// With extension data: BODYSTRUCTURE.
    extended: bool,
}

impl Form {
    /// A part and those in it; a structure has a bounded depth.
    fn part(self, part: &Part<'_>, out: &mut BytesMut) {
        out.put_u8(b'(');
        match part.kind {
            Kind::Multipart => self.multipart(part, out),
            Kind::Leaf | Kind::Message => self.single(part, out),
        }
        out.put_u8(b')');
    }

    fn string(self, text: &[u8], out: &mut BytesMut) {
        write::string(text, self.utf8, out);
    }

    fn nstring(self, text: Option<&[u8]>, out: &mut BytesMut) {
        out.put_u8(b' ');
        write::nstring(text, self.utf8, out);
    }

    fn multipart(self, part: &Part<'_>, out: &mut BytesMut) {
        for child in part.children() {
            self.part(&child, out);
        }
        out.put_u8(b' ');
        self.string(part.media_type().1, out);
        if self.extended {
            out.put_u8(b' ');
            self.params(part.params(), false, out);
            self.extension(part, out);
        }
    }

    fn single(self, part: &Part<'_>, out: &mut BytesMut) {
        let (kind, subtype) = part.media_type();
        self.string(kind, out);
        out.put_u8(b' ');
        self.string(subtype, out);
        out.put_u8(b' ');
        self.params(part.params(), part.is_text(), out);
        self.nstring(part.id, out);
        self.nstring(part.description, out);
        self.nstring(Some(part.encoding.unwrap_or(b"7bit")), out);
        out.put_u8(b' ');
        write::number(part.body.end.saturating_sub(part.body.start), out);
        let message = if part.kind == Kind::Message { part.children().next() } else { None };
        if let Some(message) = &message {
            out.put_u8(b' ');
            match &message.envelope {
                Some(envelope) => write_envelope(envelope, self.utf8, out),
                None => out.extend_from_slice(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
            }
            out.put_u8(b' ');
            self.part(message, out);
        }
        if message.is_some() || part.is_text() {
            out.put_u8(b' ');
            write::number(part.lines, out);
        }
        if self.extended {
            self.nstring(part.md5, out);
            self.extension(part, out);
        }
    }

    /// `body-ext-dsp`, `body-ext-lang` and `body-ext-loc`
    fn extension(self, part: &Part<'_>, out: &mut BytesMut) {
        match &part.disposition {
            Some(disposition) => {
                out.extend_from_slice(b" (");
                self.string(disposition.kind, out);
                out.put_u8(b' ');
                self.params(disposition.params, false, out);
                out.put_u8(b')');
            }
            None => out.extend_from_slice(b" NIL"),
        }
        out.put_u8(b' ');
        let mut languages = part.language().peekable();
        match languages.peek() {
            Some(_) => write::list(languages, out, |language, out| self.string(language, out)),
            None => out.extend_from_slice(b"NIL"),
        }
        self.nstring(part.location, out);
    }

    fn params(self, params: Params<'_>, default_charset: bool, out: &mut BytesMut) {
        let charset = (default_charset && params.get("charset").is_none())
            .then_some((b"charset".as_slice(), b"us-ascii".as_slice()));
        if params.is_empty() && charset.is_none() {
            return out.extend_from_slice(b"NIL");
        }
        write::list(params.chain(charset), out, |(name, value), out| {
            self.string(name, out);
            out.put_u8(b' ');
            self.string(value, out);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use packetboat_message::card::{Builder, Card};

    use super::*;
    use crate::response::Mode;

    /// What is said of a message: ENVELOPE, BODY and BODYSTRUCTURE.
    fn said(message: &str, mode: Mode<'_>) -> [String; 3] {
        let mut builder = Builder::new();
        builder.push(message.as_bytes());
        let draft = builder.finish();
        let octets = draft.card(b"");
        let card = Card::parse(&octets).unwrap();
        let structure = card.structure().unwrap();
        let render = |say: &dyn Fn(&mut FetchWriter<'_>)| {
            let mut out = BytesMut::new();
            let mut writer = FetchWriter::new(1, &mode, &mut out);
            say(&mut writer);
            writer.finish();
            let text = String::from_utf8_lossy(&out).into_owned();
            text.strip_prefix("* 1 FETCH (").unwrap().strip_suffix(")\r\n").unwrap().to_owned()
        };
        [
            render(&|writer| _ = writer.envelope(&card.envelope().unwrap())),
            render(&|writer| _ = writer.body(&structure)),
            render(&|writer| _ = writer.body_structure(&structure)),
        ]
    }

    #[test]
    fn the_envelope_of_rfc_9051() {
        let [envelope, ..] = said(
            "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
             Subject: IMAP4rev2 WG mtg summary and minutes\r\n\
             From: Terry Gray <gray@cac.washington.edu>\r\n\
             To: imap@cac.washington.edu\r\n\
             Cc: minutes@CNRI.Reston.VA.US, \"John \\\"J\\\" K\" <@a,@b:KLENSIN@MIT.EDU>\r\n\
             Bcc: A group: a@x, b@y;\r\n\
             Message-Id: <B27397-0100000@cac.washington.ed>\r\n\r\n",
            Mode::default(),
        );
        let gray = r#"(("Terry Gray" NIL "gray" "cac.washington.edu"))"#;
        assert_eq!(
            envelope,
            format!(
                "ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \
                 \"IMAP4rev2 WG mtg summary and minutes\" {gray} {gray} {gray} \
                 ((NIL NIL \"imap\" \"cac.washington.edu\")) \
                 ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John \\\"J\\\" K\" \"@a,@b\" \"KLENSIN\" \"MIT.EDU\")) \
                 ((NIL NIL \"A group\" NIL)(NIL NIL \"a\" \"x\")(NIL NIL \"b\" \"y\")(NIL NIL NIL NIL)) \
                 NIL \"<B27397-0100000@cac.washington.ed>\")"
            )
        );
    }

    #[test]
    fn eight_bits_in_an_envelope() {
        let message = "Subject: Grüße\r\n\r\n";
        let rest = "NIL NIL NIL NIL NIL NIL NIL NIL)";
        let [envelope, ..] = said(message, Mode::default());
        assert_eq!(envelope, format!("ENVELOPE (NIL {{7}}\r\nGrüße {rest}"));
        let [envelope, ..] = said(message, Mode { utf8: true, ..Mode::default() });
        assert_eq!(envelope, format!("ENVELOPE (NIL \"Grüße\" {rest}"));
    }

    #[test]
    fn structures() {
        for (message, body, body_structure) in [
            (
                "Subject: x\r\n\r\none\r\ntwo\r\n",
                r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2)"#,
                r#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL)"#,
            ),
            (
                "Content-Type: Text/Html; format=flowed\r\nContent-Language: de, en\r\n\
                 Content-Disposition: inline\r\nContent-ID: <i>\r\nContent-Description: d\r\n\
                 Content-Location: l\r\nContent-MD5: m\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
                r#"("Text" "Html" ("format" "flowed" "charset" "us-ascii") "<i>" "d" "8bit" 0 0)"#,
                r#"("Text" "Html" ("format" "flowed" "charset" "us-ascii") "<i>" "d" "8bit" 0 0 "m" ("inline" NIL) ("de" "en") "l")"#,
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\
                 Content-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\
                 Content-Disposition: attachment; filename=\"a b.png\"\r\n\r\nAAAA\r\n--b\r\n\
                 Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n\r\n--b--\r\n",
                r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0)("image" "png" ("name" "a b.png") NIL NIL "base64" 4)("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1) 3) "mixed")"#,
                r#"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0 NIL NIL NIL NIL)("image" "png" ("name" "a b.png") NIL NIL "base64" 4 NIL ("attachment" ("filename" "a b.png")) NIL NIL)("message" "rfc822" NIL NIL NIL "7bit" 18 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL) "mixed" ("boundary" "b") NIL NIL NIL)"#,
            ),
        ] {
            let [_, short, long] = said(message, Mode::default());
            assert_eq!(short, format!("BODY {body}"));
            assert_eq!(long, format!("BODYSTRUCTURE {body_structure}"));
        }
    }

    #[test]
    fn deep_structures() {
        let header = "Content-Type: message/rfc822\r\n\r\n";
        let [_, body, _] = said(&header.repeat(1000), Mode::default());
        assert_eq!(body.matches('(').count(), body.matches(')').count());
        assert!(body.matches("\"rfc822\"").count() > 50);
    }
}
