//! FETCH responses, written as they are said.

mod parts;

use bytes::{BufMut, BytesMut};

use crate::command::{Section, SectionItem};
use crate::response::{FlagsOf, Mode, SectionLabel, path, write};

/// One `* n FETCH (...)`, straight into the output.
///
/// Every method says one item; [`finish`](FetchWriter::finish) ends the response. Octets that are not at hand in one
/// piece are announced by [`begin_section`](FetchWriter::begin_section), whereupon exactly so many have to follow by
/// [`literal`](FetchWriter::literal) before anything else is said; a writer may be dropped in between, and one made by
/// [`resume`](FetchWriter::resume) goes on.
#[derive(Debug)]
#[must_use = "a response that is not finished spoils what follows it"]
pub struct FetchWriter<'a> {
    out: &'a mut BytesMut,
    utf8: bool,
    /// An item was said already.
    begun: bool,
}

/// System flags in the order of their bits.
const FLAGS: [&[u8]; 5] = [b"\\Seen ", b"\\Answered ", b"\\Flagged ", b"\\Deleted ", b"\\Draft "];

impl<'a> FetchWriter<'a> {
    /// Begins the response for the message of that number.
    pub fn new(number: u32, mode: &Mode<'_>, out: &'a mut BytesMut) -> FetchWriter<'a> {
        out.extend_from_slice(b"* ");
        write::number(number, out);
        out.extend_from_slice(b" FETCH (");
        FetchWriter { out, utf8: mode.utf8_strings(), begun: false }
    }

    /// Begins the response for the message of that UID to a client that wants no message numbers (RFC 9586 section 3.4).
    pub fn uid_only(uid: u32, mode: &Mode<'_>, out: &'a mut BytesMut) -> FetchWriter<'a> {
        out.extend_from_slice(b"* ");
        write::number(uid, out);
        out.extend_from_slice(b" UIDFETCH (");
        FetchWriter { out, utf8: mode.utf8_strings(), begun: false }
    }

    /// Goes on with a response, in which an item was said already or not.
    pub fn resume(begun: bool, mode: &Mode<'_>, out: &'a mut BytesMut) -> FetchWriter<'a> {
        FetchWriter { out, utf8: mode.utf8_strings(), begun }
    }

    /// Whether an item was said already, which [`resume`](FetchWriter::resume) has to know.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Ends the response.
    pub fn finish(self) {
        self.out.extend_from_slice(b")\r\n");
    }

    fn item(&mut self, name: &[u8]) -> &mut BytesMut {
        if self.begun {
            self.out.put_u8(b' ');
        }
        self.begun = true;
        self.out.extend_from_slice(name);
        self.out
    }

    /// UID
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        write::number(uid, self.item(b"UID "));
        self
    }

    /// FLAGS
    pub fn flags(&mut self, flags: FlagsOf<'_>) -> &mut Self {
        let out = self.item(b"FLAGS (");
        let empty = out.len();
        for (bit, name) in FLAGS.iter().enumerate() {
            if flags.system.0 >> bit & 1 == 1 {
                out.extend_from_slice(name);
            }
        }
        if flags.recent {
            out.extend_from_slice(b"\\Recent ");
        }
        for keyword in flags.keywords {
            out.extend_from_slice(keyword.as_bytes());
            out.put_u8(b' ');
        }
        // Every flag has a space behind it.
        if out.len() > empty {
            out.truncate(out.len() - 1);
        }
        out.put_u8(b')');
        self
    }

    /// INTERNALDATE, of microseconds since the epoch. It is told in UTC.
    pub fn internal_date(&mut self, micros: i64) -> &mut Self {
        write::date_time(micros, self.item(b"INTERNALDATE "));
        self
    }

    /// RFC822.SIZE
    pub fn size(&mut self, octets: u64) -> &mut Self {
        write::number(octets, self.item(b"RFC822.SIZE "));
        self
    }

    /// MODSEQ
    pub fn mod_seq(&mut self, modseq: u64) -> &mut Self {
        let out = self.item(b"MODSEQ (");
        write::number(modseq, out);
        out.put_u8(b')');
        self
    }

    /// EMAILID
    pub fn email_id(&mut self, id: &str) -> &mut Self {
        let out = self.item(b"EMAILID (");
        out.extend_from_slice(id.as_bytes());
        out.put_u8(b')');
        self
    }

    /// THREADID; `None` where threads have none.
    pub fn thread_id(&mut self, id: Option<&str>) -> &mut Self {
        let out = self.item(b"THREADID ");
        match id {
            Some(id) => {
                out.put_u8(b'(');
                out.extend_from_slice(id.as_bytes());
                out.put_u8(b')');
            }
            None => out.extend_from_slice(b"NIL"),
        }
        self
    }

    /// SAVEDATE, of microseconds since the epoch; `None` where it is not known.
    pub fn save_date(&mut self, micros: Option<i64>) -> &mut Self {
        let out = self.item(b"SAVEDATE ");
        match micros {
            Some(micros) => write::date_time(micros, out),
            None => out.extend_from_slice(b"NIL"),
        }
        self
    }

    /// PREVIEW; `None` if there is none yet.
    pub fn preview(&mut self, text: Option<&str>) -> &mut Self {
        let utf8 = self.utf8;
        write::nstring(text.map(str::as_bytes), utf8, self.item(b"PREVIEW "));
        self
    }

    /// A section that is at hand: always as a literal, of octets with NUL as a literal8 where BINARY asks (RFC 3516
    /// section 4.2).
    pub fn section(&mut self, section: &Section, octets: &[u8]) -> &mut Self {
        let binary = section.item == SectionItem::Binary && memchr::memchr(0, octets).is_some();
        let out = self.label(section);
        out.reserve(octets.len() + write::DIGITS_MAX);
        write::literal_begin(octets.len() as u64, binary, out);
        out.extend_from_slice(octets);
        self
    }

    /// A section that is not there.
    pub fn section_nil(&mut self, section: &Section) -> &mut Self {
        self.label(section).extend_from_slice(b"NIL");
        self
    }

    /// Announces a section of so many octets, which follow by [`literal`](FetchWriter::literal). What BINARY asks for
    /// is a literal8, as it may have NUL in it.
    pub fn begin_section(&mut self, section: &Section, octets: u64) -> &mut Self {
        let binary = section.item == SectionItem::Binary;
        write::literal_begin(octets, binary, self.label(section));
        self
    }

    /// The next octets of the section announced last.
    pub fn literal(&mut self, octets: &[u8]) -> &mut Self {
        self.out.extend_from_slice(octets);
        self
    }

    /// BINARY.SIZE of a part.
    pub fn binary_size(&mut self, part: &[u32], octets: u64) -> &mut Self {
        let out = self.item(b"BINARY.SIZE[");
        path(part, out);
        out.extend_from_slice(b"] ");
        write::number(octets, out);
        self
    }

    fn label(&mut self, section: &Section) -> &mut BytesMut {
        let out = self.item(b"");
        SectionLabel(section).render(out);
        out.put_u8(b' ');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::SectionText;
    use crate::value::SystemFlags;

    fn said(mode: Mode<'_>, say: impl FnOnce(&mut FetchWriter<'_>)) -> String {
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(12, &mode, &mut out);
        say(&mut writer);
        writer.finish();
        String::from_utf8_lossy(&out).into_owned()
    }

    fn section(item: SectionItem, path: &[u32], text: SectionText, partial: Option<(u64, u64)>) -> Section {
        Section { item, peek: true, path: path.to_vec(), text, partial }
    }

    #[test]
    fn small_items() {
        let said = said(Mode::default(), |writer| {
            writer
                .uid(4_294_967_295)
                .flags(FlagsOf { system: SystemFlags(0), recent: false, keywords: &[] })
                .flags(FlagsOf { system: SystemFlags(0b11111), recent: true, keywords: &["$Junk", "a"] })
                .flags(FlagsOf { system: SystemFlags(0), recent: false, keywords: &["$Junk"] })
                .internal_date(837_571_465_000_000)
                .size(0)
                .mod_seq(u64::MAX)
                .email_id("M6d99ac3275bb4e")
                .thread_id(Some("T64b478a75b7ea9"))
                .thread_id(None)
                .save_date(None)
                .save_date(Some(0))
                .preview(None)
                .preview(Some("Hi \"all\""))
                .preview(Some("Grüße"))
                .binary_size(&[1, 2], 10);
        });
        assert_eq!(
            said,
            "* 12 FETCH (UID 4294967295 FLAGS () \
             FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft \\Recent $Junk a) FLAGS ($Junk) \
             INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" RFC822.SIZE 0 MODSEQ (18446744073709551615) \
             EMAILID (M6d99ac3275bb4e) THREADID (T64b478a75b7ea9) THREADID NIL SAVEDATE NIL \
             SAVEDATE \" 1-Jan-1970 00:00:00 +0000\" PREVIEW NIL PREVIEW \"Hi \\\"all\\\"\" \
             PREVIEW {7}\r\nGrüße BINARY.SIZE[1.2] 10)\r\n"
        );
    }

    #[test]
    fn utf8_between_quotes_only_to_whom_it_is_known() {
        let mode = Mode { rev2: true, ..Mode::default() };
        assert_eq!(
            said(mode, |writer| _ = writer.preview(Some("Grüße"))),
            "* 12 FETCH (PREVIEW \"Grüße\")\r\n"
        );
    }

    #[test]
    fn labels() {
        let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (item, path, text, partial, expected) in [
            (SectionItem::Body, &[][..], SectionText::Whole, None, "BODY[]"),
            (SectionItem::Body, &[], SectionText::Whole, Some((5, 7)), "BODY[]<5>"),
            (SectionItem::Body, &[1, 2], SectionText::Whole, None, "BODY[1.2]"),
            (SectionItem::Body, &[1, 2], SectionText::Mime, None, "BODY[1.2.MIME]"),
            (SectionItem::Body, &[], SectionText::Header, None, "BODY[HEADER]"),
            (SectionItem::Body, &[3], SectionText::Text, Some((0, 1)), "BODY[3.TEXT]<0>"),
            (
                SectionItem::Body,
                &[],
                SectionText::Fields(fields(&["From", "to"])),
                None,
                "BODY[HEADER.FIELDS (FROM TO)]",
            ),
            (
                SectionItem::Body,
                &[4],
                SectionText::FieldsNot(fields(&["a b"])),
                None,
                "BODY[4.HEADER.FIELDS.NOT (\"A B\")]",
            ),
            (SectionItem::Binary, &[1], SectionText::Whole, None, "BINARY[1]"),
            (SectionItem::Rfc822, &[], SectionText::Whole, None, "RFC822"),
            (SectionItem::Rfc822Header, &[], SectionText::Header, None, "RFC822.HEADER"),
            (SectionItem::Rfc822Text, &[], SectionText::Text, None, "RFC822.TEXT"),
        ] {
            let section = section(item, path, text, partial);
            assert_eq!(
                said(Mode::default(), |writer| _ = writer.section(&section, b"abc").section_nil(&section)),
                format!("* 12 FETCH ({expected} {{3}}\r\nabc {expected} NIL)\r\n")
            );
        }
    }

    #[test]
    fn octets_in_pieces() {
        let mut out = BytesMut::new();
        let mode = Mode::default();
        let body = section(SectionItem::Body, &[], SectionText::Whole, None);
        let binary = section(SectionItem::Binary, &[1], SectionText::Whole, None);
        FetchWriter::uid_only(7, &mode, &mut out).begin_section(&body, 6).literal(b"abc");
        let mut writer = FetchWriter::resume(true, &mode, &mut out);
        writer.literal(b"def").section(&binary, b"a").section(&binary, b"\0").begin_section(&binary, 0);
        writer.finish();
        assert_eq!(
            String::from_utf8_lossy(&out),
            "* 7 UIDFETCH (BODY[] {6}\r\nabcdef BINARY[1] {1}\r\na BINARY[1] ~{1}\r\n\0 BINARY[1] ~{0}\r\n)\r\n"
        );
    }
}
