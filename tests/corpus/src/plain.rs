//! Plain text and its edges: dots, blanks, lines, ends.

use crate::build::{Shelf, header};

pub(crate) fn fill(shelf: &mut Shelf) {
    shapes(shelf);
    dots(shelf);
    blanks(shelf);
    look_alikes(shelf);
    long(shelf);
}

fn shapes(shelf: &mut Shelf) {
    shelf.raw("empty", "");
    shelf.raw("one-empty-line", "\r\n");
    shelf.raw("two-empty-lines", "\r\n\r\n");
    shelf.text("header-only", &header("header-only"));
    shelf.letter("header-and-empty-line", "", "");
    shelf.text("one-header-line", "Subject: only this\n");
    shelf.text("no-header", "\nThere is no header above this line.\n");
    shelf.text("no-header-no-empty-line", "Dear Bob, this is no header and has no colon\nbut goes on.\n");
    shelf.text("no-header-with-colon", "Note: this might be a header\nand this is not one\n\nrest\n");
    shelf.letter("simple", "", "Hello Bob,\n\nsee you tomorrow.\n\nAlice\n");
    shelf.letter("one-letter", "", "x\n");
    shelf.letter("signature", "", "Hello\n\n-- \nAlice Example\nExample Ltd.\n");
    shelf.letter(
        "format-flowed",
        "Content-Type: text/plain; charset=us-ascii; format=flowed; delsp=yes\n",
        "This is a paragraph that flows on to \nthe next line, and then \nends.\n \n From here it is space-stuffed.\n >not a quote\n> a quote that \n> flows\n-- \nAlice\n",
    );
    let quoted: String = (1..60).map(|depth| format!("{} at depth {depth}\n", ">".repeat(depth))).collect();
    shelf.letter("quoted-deep", "", &quoted);
    shelf.letter(
        "attribution",
        "",
        "On Mon, Bob wrote:\n> one\n>\n> > two\n>> three\n> >From four\n\nYes.\n",
    );
}

fn dots(shelf: &mut Shelf) {
    for (name, body) in [
        ("dot-alone", ".\n"),
        ("dot-two-alone", "..\n"),
        ("dot-three-alone", "...\n"),
        ("dot-first-line", ".first line begins with a dot\nsecond\n"),
        ("dot-last-line", "text\n.\n"),
        ("dot-last-line-two", "text\n..\n"),
        ("dot-and-space", "text\n. \ntext\n"),
        ("dot-and-tab", "text\n.\t\ntext\n"),
        ("dot-after-space", "text\n .\ntext\n"),
        ("dot-after-empty-lines", "text\n\n\n.\n\n\n.\n\n"),
        ("dot-lines-in-a-row", ".\n.\n.\n.\n..\n..\n...\n....\n.\n"),
        ("dot-words", ".profile\n./configure && make\n../parent\n...and so on\n.25 litres\n"),
        ("dot-at-line-ends", "one.\ntwo..\nthree...\n.\n"),
        ("dot-before-control", ".\u{1}\n.\u{7f}\n.\u{1b}[0m\n"),
        ("dot-quit", "text\n.\nQUIT\n.\nRSET\n"),
        (
            "dot-roff",
            ".TH PACKETBOAT 1\n.SH NAME\npacketboat \\- carries mail\n.SH SYNOPSIS\n.B packetboat\n.I command\n.\\\" comment\n",
        ),
    ] {
        shelf.letter(name, "", body);
    }
    shelf.letter("dot-every-line", "", &".line\n".repeat(2000));
    shelf.letter("dot-alone-every-line", "", &".\n".repeat(5000));
    shelf.text("dot-only", ".\n");
    shelf.text("dot-two-only", "..\n");
    shelf.text("dot-instead-of-header", ".\n.\n\n.\n");
    shelf.text("dot-in-front-of-header", &format!(".{}\nbody\n", header("dot-in-front-of-header")));
    shelf.text("dot-header-name", &format!(".Hidden: yes\n{}\nbody\n", header("dot-header-name")));
    shelf.text("dot-folded", "Subject: folded\n .\n ..\n\t.\n\nbody\n");
}

fn blanks(shelf: &mut Shelf) {
    for (name, body) in [
        ("trailing-spaces", "one \ntwo  \nthree          \n \n  \n"),
        ("trailing-tabs", "one\t\ntwo\t\t\n\t\n"),
        ("leading-blanks", "  indented\n\ttabbed\n \t both\n"),
        ("tabs", "a\tb\tc\n1\t2\t3\n\t\t\t\n"),
        ("blank-lines-first", "\n\n\n\n\nfinally\n"),
        ("blank-lines-last", "that is all\n\n\n\n\n\n\n\n\n\n"),
        ("form-feed", "page one\n\u{c}\npage two\u{b}\n"),
        ("backspaces", "b\u{8}bo\u{8}ol\u{8}ld\u{8}d\nu\u{8}_n\u{8}_\n"),
        ("escape-sequences", "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7} \u{1b}[2J\n"),
        (
            "control-characters",
            "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\u{e}\u{f}\u{10}\u{1a}\u{1c}\u{1f}\u{7f}\n",
        ),
        ("ctrl-z", "as from an old system\n\u{1a}\n"),
    ] {
        shelf.letter(name, "", body);
    }
    shelf.letter("empty-lines-10000", "", &"\n".repeat(10_000));
}

fn look_alikes(shelf: &mut Shelf) {
    shelf.letter(
        "smtp-commands",
        "",
        "EHLO there\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.net>\nDATA\nRSET\nQUIT\nBDAT 86 LAST\n250 OK\n354 go\n",
    );
    shelf.letter("pop3-replies", "", "+OK\n-ERR no\n+OK 2 320\n+ \nQUIT\nDELE 1\n");
    shelf.letter("imap-replies", "", "* BYE\na1 OK done\n* 1 FETCH (FLAGS (\\Seen))\n{10}\n) FLAGS ()\n");
    shelf.letter("ftp-telnet", "", "220-welcome\n220 ready\n\u{ff}\u{fb}\n");
    shelf.letter("from-lines", "", "From here on\n>From there\n>>From everywhere\n from nowhere\nFrom\n");
    let mbox = "From alice@example.org Mon Jul 14 12:34:56 2025\n";
    shelf.text("mbox-line-on-top", &format!("{mbox}{}\nbody\n", header("mbox-line-on-top")));
    shelf.text("mbox-line-quoted-on-top", &format!(">{mbox}{}\nbody\n", header("mbox-line-quoted-on-top")));
    shelf.letter(
        "mbox-inside",
        "",
        &format!("{mbox}Subject: inside\n\ninner\n\n{mbox}Subject: next\n\ninner\n"),
    );
    shelf.letter("maildir-separators", "", ":2,S\n:2,FS\n;1\n");
    shelf.letter(
        "json-and-code",
        "",
        "{\"a\": [1, 2.5e3, null]}\n\tif (x < y && y > z) { return; }\n`rm -rf /`\n%00%0a\n",
    );
    shelf.letter("sql", "", "'; DROP TABLE messages; --\n\" OR 1=1\n\\'\n");
    shelf.letter("diff", "", "--- a/file\n+++ b/file\n@@ -1,3 +1,3 @@\n-.old\n+.new\n .same\n-- \n2.39\n");
}

fn long(shelf: &mut Shelf) {
    shelf.letter("line-of-997", "", &format!("{}\n", "x".repeat(997)));
    shelf.letter("line-of-998", "", &format!("{}\n", "x".repeat(998)));
    shelf.letter("line-of-998-with-dot", "", &format!(".{}\n", "x".repeat(997)));
    shelf.letter("line-of-998-of-dots", "", &format!("{}\n.\n", ".".repeat(998)));
    shelf.letter("lines-of-998", "", &format!("{}\n", "word ".repeat(199) + "end").repeat(500));
    shelf.letter("line-of-999", "", &format!("{}\n", "x".repeat(999)));
    shelf.letter("line-of-1000", "", &format!("{}\n", "x".repeat(1000)));
    shelf.letter("line-of-1000-with-dot", "", &format!(".{}\n.\n", "x".repeat(999)));
    shelf.letter("line-of-2048", "", &format!("{}\n", "y".repeat(2048)));
    shelf.letter("line-of-8192", "", &format!("{}\n.after\n", "y".repeat(8192)));
    shelf.letter("line-of-10000", "", &format!("begin\n{}\nend\n", "0123456789".repeat(1000)));
    shelf.letter("line-of-10000-of-dots", "", &format!("{}\n", ".".repeat(10_000)));
    shelf.letter("line-of-100000", "", &format!("{}\n.\n", "0123456789".repeat(10_000)));
    shelf.letter("line-of-a-million", "", &format!("{}\n", "0123456789".repeat(100_000)));
    shelf.letter(
        "paragraph-unwrapped",
        "",
        &format!("{}\n", "All of this paragraph is one line. ".repeat(80)),
    );
    let numbered: String = (0..20_000).map(|line| format!("line {line} of many\n")).collect();
    shelf.letter("lines-20000", "", &numbered);
    shelf.letter("letters-alone", "", &"a\n".repeat(50_000));
}
