//! What mail programs, lists, robots and telephones send, in their own styles.

use crate::build::{Shelf, base64, header, multipart, noise};

pub(crate) fn fill(shelf: &mut Shelf) {
    lists(shelf);
    reports(shelf);
    calendars(shelf);
    mailers(shelf);
    robots(shelf);
    telephones(shelf);
}

/// Trace and authentication lines as a message has collected them after two hops and a list.
fn trace(seed: u64) -> String {
    let signature = |which: u64, length: usize| {
        base64(&noise(seed * 10 + which, length)).trim_end().replace('\n', "\n\t ")
    };
    format!(
        "Return-Path: <list-bounces@lists.example.org>\n\
         Received: from mx.example.net (mx.example.net [192.0.2.1])\n\tby mail.example.net (Postfix) with ESMTPS id 4bX1 \n\tfor <bob@example.net>; Mon, 14 Jul 2025 10:35:00 +0000 (UTC)\n\
         Authentication-Results: mx.example.net;\n\tdkim=pass (2048-bit key) header.d=example.org header.i=@example.org;\n\tspf=pass smtp.mailfrom=list-bounces@lists.example.org;\n\tdmarc=pass (p=REJECT) header.from=example.org; arc=pass (i=1)\n\
         ARC-Seal: i=1; a=rsa-sha256; t=1752489300; cv=none; d=example.com; s=arc;\n\tb={}\n\
         ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com;\n\ts=arc; t=1752489300; h=from:to:subject:date; bh={};\n\tb={}\n\
         ARC-Authentication-Results: i=1; example.com; dkim=pass\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.org; s=2025;\n\th=from:to:subject:date:message-id:mime-version;\n\tbh={};\n\tb={}\n\
         DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed;\n\tbh={}; b={}\n\
         Received-SPF: pass (mx.example.net: domain of list-bounces@lists.example.org\n\tdesignates 192.0.2.1 as permitted sender)\n",
        signature(1, 256),
        signature(2, 32),
        signature(3, 256),
        signature(4, 32),
        signature(5, 256),
        signature(6, 32),
        signature(7, 64),
    )
}

fn lists(shelf: &mut Shelf) {
    let fields = "List-Id: Talk about boats <boats.lists.example.org>\nList-Unsubscribe: <https://lists.example.org/u?x=1>,\n <mailto:boats-leave@lists.example.org>\nList-Post: <mailto:boats@lists.example.org>\nList-Archive: <https://lists.example.org/archives/>\nList-Help: <mailto:boats-request@lists.example.org?subject=help>\nPrecedence: list\nX-Mailman-Version: 3.3.9\nX-BeenThere: boats@lists.example.org\nErrors-To: list-bounces@lists.example.org\n";
    let footer = "\n_______________________________________________\nboats mailing list -- boats@lists.example.org\nTo unsubscribe send an email to boats-leave@lists.example.org\n";
    for (number, body) in
        ["Ahoy.\n", "> Ahoy.\n\nAhoy yourself.\n", "+1\n", ".\n\nwhoops\n"].iter().enumerate()
    {
        let name = format!("list-mailman-{number}");
        let text = format!("{}{}{fields}\n{body}{footer}", trace(number as u64 + 1), header(&name));
        shelf.text(&name, &text);
    }
    let name = "newsletter-one-click";
    let html: String = (0..300)
        .map(|row| format!("<tr><td style=3D\"padding:0 .5em\"><a href=3D\"https://click.example.com/?u=3D{row:08x}&amp;=\n..=2E\">offer {row}</a></td></tr>\n"))
        .collect();
    let html = format!(
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<table>\n{html}</table>\n"
    );
    let plain = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nView in browser → https://example.com/\n";
    shelf.text(
        name,
        &format!(
            "{}{}List-Unsubscribe: <https://news.example.com/u/1>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nFeedback-ID: 1:2:3:example\nX-Mailer: Example Campaigns 9\nContent-Type: multipart/alternative; boundary=\"_----x/y+z\"\n\n{}",
            trace(9),
            header(name),
            multipart("_----x/y+z", &[plain, &html])
        ),
    );
    shelf.letter("usenet-gateway", "Newsgroups: comp.mail.misc,comp.mail.mime\nPath: news.example.org!not-for-mail\nLines: 3\nXref: news.example.org comp.mail.misc:42\nX-No-Archive: yes\n", "posted and mailed\n.\n..\n");
}

fn reports(shelf: &mut Shelf) {
    let original = "Return-Path: <alice@example.org>\nFrom: alice@example.org\nTo: nobody@example.net\nSubject: original\n\n.body\n";
    for (action, status, diagnostic) in [
        ("failed", "5.1.1", "smtp; 550 5.1.1 <nobody@example.net>: Recipient address rejected"),
        ("delayed", "4.4.1", "smtp; 451 4.4.1 no answer from host"),
        ("delivered", "2.0.0", "smtp; 250 2.0.0 OK"),
        ("relayed", "2.0.0", "smtp; 250 queued"),
        ("expanded", "2.0.0", "X-Local; expanded"),
    ] {
        let text = format!(
            "Content-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\nThis is the mail system at host mx.example.net.\n\nYour message was {action}.\n"
        );
        let fields = format!(
            "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 14 Jul 2025 12:34:56 +0200\n\nFinal-Recipient: rfc822; nobody@example.net\nOriginal-Recipient: rfc822;nobody@example.net\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}\n"
        );
        let name = format!("dsn-{action}");
        let returned = format!("Content-Type: message/rfc822\n\n{original}");
        shelf.text(
            &name,
            &format!(
                "Return-Path: <>\n{}Auto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"4bX1.1752489300/mx.example.net\"\n\n{}",
                header(&name).replace("Alice Example <alice@example.org>", "MAILER-DAEMON@mx.example.net (Mail Delivery System)"),
                multipart("4bX1.1752489300/mx.example.net", &[&text, &fields, &returned])
            ),
        );
    }
    let global = "Content-Type: message/global-delivery-status; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: utf-8; jörg@bücher.example\nAction: failed\nStatus: 5.6.7\n";
    let headers = "Content-Type: message/global-headers\nContent-Transfer-Encoding: 8bit\n\nSubject: Grüße\n";
    shelf.letter(
        "dsn-international",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=r\n",
        &multipart("r", &["\nsorry\n", global, headers]),
    );
    let notice = "Content-Type: message/disposition-notification\n\nReporting-UA: mail.example.net; Example 1.0\nFinal-Recipient: rfc822;bob@example.net\nOriginal-Message-ID: <1@example.org>\nDisposition: manual-action/MDN-sent-manually; displayed\n";
    shelf.letter(
        "receipt-displayed",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=r\n",
        &multipart("r", &["\nI have seen it.\n", notice]),
    );
    let abuse = "Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: Example/1.0\nVersion: 1\nSource-IP: 192.0.2.1\n";
    let returned = format!("Content-Type: message/rfc822\n\n{original}");
    shelf.letter(
        "abuse-report",
        "Content-Type: multipart/report; report-type=feedback-report; boundary=r\n",
        &multipart("r", &["\nabuse\n", abuse, &returned]),
    );
    for (name, kind, file) in [
        ("dmarc-report", "application/gzip", "example.net!example.org!1752451200!1752537599.xml.gz"),
        ("tls-report", "application/tlsrpt+gzip", "example.net!example.org!1752451200!1752537599.json.gz"),
    ] {
        shelf.letter(name, &format!("Content-Type: {kind}; name=\"{file}\"\nContent-Disposition: attachment;\n\tfilename=\"{file}\"\nContent-Transfer-Encoding: base64\nTLS-Report-Domain: example.org\n"), &base64(&noise(30, 1_500)));
    }
    shelf.text("bounce-qmail", "Return-Path: <>\nFrom: MAILER-DAEMON@example.net\nTo: alice@example.org\nSubject: failure notice\n\nHi. This is the qmail-send program at example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\n<nobody@example.net>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <alice@example.org>\n.\n");
    shelf.text("bounce-exim", "From: Mail Delivery System <Mailer-Daemon@example.net>\nX-Failed-Recipients: nobody@example.net\nAuto-Submitted: auto-replied\nSubject: Mail delivery failed: returning message to sender\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  nobody@example.net\n    Unrouteable address\n\n------ This is a copy of the message, including all the headers. ------\n\n.hidden\n");
    shelf.text("bounce-exchange", "From: postmaster@example.net\nSubject: =?utf-8?B?VW56dXN0ZWxsYmFy?= : x\nX-MS-Exchange-Message-Is-Ndr:\nContent-Type: text/html\n\n<html><body>#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##</body></html>\n");
    shelf.letter("out-of-office", "Auto-Submitted: auto-replied\nX-Auto-Response-Suppress: All\nPrecedence: bulk\nIn-Reply-To: <1@example.org>\n", "I am away until Monday.\n.\n");
}

fn calendars(shelf: &mut Shelf) {
    let zone = "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\nDTSTART:19961027T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n";
    for method in ["REQUEST", "REPLY", "CANCEL", "COUNTER"] {
        let calendar = format!(
            "BEGIN:VCALENDAR\nPRODID:-//Example//Boat 1.0//EN\nVERSION:2.0\nMETHOD:{method}\n{zone}BEGIN:VEVENT\nUID:1752489300@example.org\nDTSTART;TZID=Europe/Berlin:20250801T100000\nSUMMARY:Regatta\\, second try\nDESCRIPTION:a line that is longer than seventy-five octets has to be fol\n ded\\nlike this\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:bob@example.net\nEND:VEVENT\nEND:VCALENDAR\n"
        );
        let part = format!(
            "Content-Type: text/calendar; charset=utf-8; method={method}\nContent-Transfer-Encoding: 7bit\n\n{calendar}"
        );
        let attached = format!(
            "Content-Type: application/ics; name=\"invite.ics\"\nContent-Disposition: attachment; filename=\"invite.ics\"\nContent-Transfer-Encoding: base64\n\n{}",
            base64(calendar.replace('\n', "\r\n").as_bytes())
        );
        shelf.letter(
            &format!("calendar-{}", method.to_ascii_lowercase()),
            "Content-Type: multipart/mixed; boundary=\"0000000000cal\"\nContent-Class: urn:content-classes:calendarmessage\n",
            &multipart("0000000000cal", &["Content-Type: text/plain\n\nRegatta\n", &part, &attached]),
        );
    }
}

fn mailers(shelf: &mut Shelf) {
    for (name, more, body) in [
        (
            "mailer-outlook",
            "X-Mailer: Microsoft Outlook 16.0\nThread-Index: AQHb9Kz0\nContent-Language: en-us\nX-MS-Has-Attach:\nX-MS-TNEF-Correlator:\nContent-Type: text/html; charset=\"us-ascii\"\n",
            "<html xmlns:v=\"urn:schemas-microsoft-com:vml\">\n<!--[if gte mso 9]><xml>\n<o:shapedefaults v:ext=\"edit\" spidmax=\"1026\" />\n</xml><![endif]-->\n<p class=MsoNormal>Hi<o:p></o:p></p>\n<style><!--\n.MsoNormal {margin:0}\n..x\n--></style></html>\n",
        ),
        (
            "mailer-apple",
            "X-Mailer: Apple Mail (2.3826.600.51.1.1)\nX-Universally-Unique-Identifier: 8A1B\nContent-Type: text/plain;\n\tcharset=utf-8\nContent-Transfer-Encoding: quoted-printable\n",
            "That=E2=80=99s it\n",
        ),
        (
            "mailer-iphone",
            "X-Mailer: iPhone Mail (22F76)\nContent-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 7bit\n",
            "Ok\n\nSent from my iPhone\n",
        ),
        (
            "mailer-thunderbird",
            "User-Agent: Mozilla Thunderbird\nContent-Language: en-US\nContent-Type: text/plain; charset=UTF-8; format=flowed\nContent-Transfer-Encoding: 8bit\n",
            "Hëllo, \nflowing\n-- \n.sig\n",
        ),
        (
            "mailer-mutt",
            "User-Agent: Mutt/2.2.12 (2023-09-09)\nContent-Type: text/plain; charset=iso-8859-1\nContent-Disposition: inline\n",
            "plain\n",
        ),
        (
            "mailer-k9",
            "User-Agent: K-9 Mail for Android\nAutocrypt: addr=alice@example.org; keydata=\n mQENBF\n",
            "short\n",
        ),
        (
            "mailer-notes",
            "X-Mailer: Lotus Notes Release 8.5.3\nX-MIMETrack: Serialize by Router on D01/EXAMPLE(Release 8.5.3)\n",
            "please don't print\n",
        ),
        ("mailer-elm", "X-Mailer: ELM [version 2.4 PL25]\nContent-Length: 10\n", "from 1995\n"),
        (
            "mailer-pine",
            "X-X-Sender: alice@shell.example.org\nContent-Type: TEXT/PLAIN; charset=US-ASCII\n",
            "pine\n",
        ),
        (
            "mailer-gnus",
            "User-Agent: Gnus/5.13 (Gnus v5.13)\nMail-Followup-To: bob@example.net\nMail-Copies-To: nobody\nX-Face: ]<$V)\n",
            "M-x send\n",
        ),
        (
            "mailer-php",
            "X-PHP-Originating-Script: 33:contact.php\nX-Mailer: PHP/8.2\n",
            "Name: Bob\nMessage: .\n",
        ),
        (
            "mailer-webmail",
            "X-Originating-IP: [192.0.2.7]\nX-Mailer: Roundcube Webmail/1.6.11\nContent-Type: text/plain; charset=UTF-8;\n format=flowed\n",
            "web \nmail\n",
        ),
    ] {
        shelf.letter(name, more, body);
    }
}

fn robots(shelf: &mut Shelf) {
    shelf.letter(
        "cron",
        "X-Cron-Env: <SHELL=/bin/sh>\nX-Cron-Env: <HOME=/root>\nAuto-Submitted: auto-generated\n",
        "/etc/cron.daily/backup:\n./backup.sh: line 3: .: filename argument required\n.\n",
    );
    shelf.letter(
        "logwatch",
        "",
        &(0..400)
            .map(|line| {
                format!(" .{line:04} sshd[{line}]: Failed password for root from 192.0.2.{}\n", line % 256)
            })
            .collect::<String>(),
    );
    shelf.letter("patch", "X-Mailer: git-send-email 2.39.5\nContent-Transfer-Encoding: 8bit\n", "Signed-off-by: Alice Example <alice@example.org>\n---\n .gitignore | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/.gitignore b/.gitignore\n--- a/.gitignore\n+++ b/.gitignore\n@@ -1,2 +1,2 @@\n-.old\n+.new\n .same\n\\ No newline at end of file\n-- \n2.39.5\n\n");
    shelf.letter("code-host", "X-Forge-Reason: mention\nReply-To: boat/boat <reply+AAAA@reply.example.com>\nList-Archive: https://forge.example.com/boat/boat\n", "Merged #42 into main.\n\n-- \nReply to this email directly.\n");
    shelf.letter("bug-tracker", "X-Bugzilla-Reason: CC\nX-Bugzilla-Type: changed\nX-Bugzilla-Changed-Fields: bug_status\n", "           What    |Removed   |Added\n----------------------------------------\n         Status    |NEW       |RESOLVED\n");
    shelf.letter(
        "invoice",
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n",
        &base64("<p>Rechnung über 10 €</p>".repeat(200).as_bytes()),
    );
    shelf.letter(
        "one-time-code",
        "Content-Type: text/plain; charset=utf-8\n",
        "123456 is your code.\n\n@example.com #123456\n",
    );
    shelf.letter("spam-obfuscated", "X-Spam-Flag: YES\nX-Spam-Status: Yes, score=42.0 required=5.0 tests=[ALL]\nContent-Type: text/html\n", "<p>V<!-- x -->1<b></b>A<span style=\"font-size:0\">zzz</span>G&#82;A &copy &#x202e;<img src=x onerror=alert(1)>\n");
    shelf.letter("chain-letter", "", &format!("{}forward this to ten people\n", ">".repeat(70) + " "));
    shelf.letter("ascii-art", "", "      .--.\n     |o_o |\n     |:_/ |\n.   //   \\ \\\n.. (|     | )\n.\n");
    shelf.letter(
        "json-in-body",
        "Content-Type: application/json\n",
        "{\"event\":\"alert\",\"value\":.5,\n\"list\":[\n.\n]}\n",
    );
    shelf.letter(
        "amp",
        "Content-Type: multipart/alternative; boundary=a\n",
        &multipart(
            "a",
            &[
                "\nplain\n",
                "Content-Type: text/x-amp-html; charset=utf-8\n\n<!doctype html><html ⚡4email>\n",
                "Content-Type: text/html\n\n<p>html\n",
            ],
        ),
    );
}

fn telephones(shelf: &mut Shelf) {
    shelf.text("sms-to-mail", "From: 15551234567@sms.example.net\nTo: bob@example.net\nDate: Mon, 14 Jul 2025 12:34:56 -0700\n\nrunning late .\n");
    shelf.text("sms-without-anything", "From: +15551234567@mms.example.net\n\nok\n");
    let smil = "Content-Type: application/smil; name=\"mms.smil\"\nContent-ID: <mms.smil>\n\n<smil><body><par dur=\"5000ms\"><img src=\"0.jpg\"/></par></body></smil>\n";
    let photo = format!(
        "Content-Type: image/jpeg; name=0.jpg\nContent-Transfer-Encoding: base64\nContent-Location: 0.jpg\n\n{}",
        base64(&noise(40, 60_000))
    );
    shelf.letter("mms", "X-MMS-Message-Type: MM4_forward.REQ\nX-Mms-Priority: Normal\nContent-Type: multipart/related; boundary=\"==mms==\"; start=\"<mms.smil>\"\n", &multipart("==mms==", &[smil, &photo]));
    let voice = format!(
        "Content-Type: audio/32KADPCM\nContent-Transfer-Encoding: base64\nContent-Disposition: inline; voice=Voice-Message-Notification\nContent-Duration: 12\n\n{}",
        base64(&noise(41, 40_000))
    );
    shelf.letter(
        "voicemail",
        "Content-Type: multipart/voice-message; version=2.0; boundary=v\nMessage-Context: voice-message\n",
        &multipart("v", &[&voice]),
    );
    shelf.letter("fax", "Content-Type: image/tiff; name=fax.tif\nContent-Transfer-Encoding: base64\nMessage-Context: fax-message\n", &base64(&noise(42, 30_000)));
    shelf.letter("pager", "", "CALL 5551234\n");
}
