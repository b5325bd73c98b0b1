//! Files in all the wrappings mail has had.

use crate::build::{PNG, Shelf, base64, crlf, multipart, noise};

pub(crate) fn fill(shelf: &mut Shelf) {
    for (name, kind, file, octets) in [
        (
            "pdf",
            "application/pdf",
            "invoice.pdf",
            [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec(), noise(2, 30_000)].concat(),
        ),
        ("zip", "application/zip", "archive.zip", [b"PK\x03\x04".to_vec(), noise(3, 20_000)].concat()),
        (
            "jpeg",
            "image/jpeg",
            "IMG_0001.JPG",
            [b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), noise(4, 200_000)].concat(),
        ),
        ("png", "image/png", "dot.png", PNG.to_vec()),
        (
            "word",
            "application/msword",
            "letter.doc",
            [b"\xd0\xcf\x11\xe0".to_vec(), noise(5, 40_000)].concat(),
        ),
        ("wav", "audio/x-wav", "voice.wav", [b"RIFF".to_vec(), noise(6, 60_000)].concat()),
        ("exe", "application/x-msdownload", "run.exe", [b"MZ\x90".to_vec(), noise(7, 5_000)].concat()),
        ("empty", "application/octet-stream", "nothing", Vec::new()),
        ("zeros", "application/octet-stream", "zeros", vec![0; 50_000]),
        ("megabyte", "application/octet-stream", "big.bin", noise(8, 1 << 20)),
        ("four-megabytes", "video/mp4", "film.mp4", noise(9, 4 << 20)),
        (
            "tnef",
            "application/ms-tnef",
            "winmail.dat",
            [b"\x78\x9f\x3e\x22".to_vec(), noise(10, 8_000)].concat(),
        ),
        (
            "pkcs7",
            "application/pkcs7-mime; smime-type=enveloped-data",
            "smime.p7m",
            [b"\x30\x82".to_vec(), noise(11, 4_000)].concat(),
        ),
    ] {
        let part = format!(
            "Content-Type: {kind}; name=\"{file}\"\nContent-Disposition: attachment; filename=\"{file}\"\nContent-Transfer-Encoding: base64\n\n{}",
            base64(&octets),
        );
        let text = "Content-Type: text/plain\n\nsee attached\n";
        shelf.letter(
            &format!("attached-{name}"),
            "Content-Type: multipart/mixed; boundary=\"=_files\"\n",
            &multipart("=_files", &[text, &part]),
        );
    }
    shelf.letter("attached-vcard", "Content-Type: text/vcard\n", "BEGIN:VCARD\nVERSION:4.0\nFN:Alice Example\nEMAIL:alice@example.org\nPHOTO:data:image/png;base64,\n iVBORw0KGgo=\nEND:VCARD\n");
    shelf.letter("attached-alone", "Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=a.png\n", &base64(PNG));
    uuencoded(shelf);
    shelf.letter_of("yenc", "", &yenc());
    shelf.letter(
        "binhex",
        "Content-Type: application/mac-binhex40\n",
        "(This file must be converted with BinHex 4.0)\n\n:#dp`Cf9K!`!!!!!!!!!!!!%!!!!!!3d!!!\n.:\n",
    );
    shelf.letter("pgp-inline", "", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n- -----dashes are escaped\n- - one more\n.dot\n\n-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n");
    let pem = base64(&noise(12, 900));
    shelf.letter(
        "pgp-encrypted-inline",
        "",
        &format!("-----BEGIN PGP MESSAGE-----\nVersion: GnuPG v2\n\n{pem}=Ab1+\n-----END PGP MESSAGE-----\n"),
    );
    let signed = "Content-Type: text/plain\n\nSigned: every blank counts.  \n\t\n.\n";
    let signature = format!(
        "Content-Type: application/pgp-signature; name=\"signature.asc\"\n\n-----BEGIN PGP SIGNATURE-----\n\n{pem}-----END PGP SIGNATURE-----\n"
    );
    shelf.letter(
        "pgp-signed",
        "Content-Type: multipart/signed; micalg=pgp-sha512;\n\tprotocol=\"application/pgp-signature\"; boundary=sig\n",
        &multipart("sig", &[signed, &signature]),
    );
    let encrypted = format!(
        "Content-Type: application/octet-stream; name=encrypted.asc\n\n-----BEGIN PGP MESSAGE-----\n\n{pem}-----END PGP MESSAGE-----\n"
    );
    shelf.letter(
        "pgp-encrypted",
        "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=enc\n",
        &multipart("enc", &["Content-Type: application/pgp-encrypted\n\nVersion: 1\n", &encrypted]),
    );
    let certificate = format!(
        "Content-Type: application/pkcs7-signature; name=smime.p7s\nContent-Transfer-Encoding: base64\n\n{}",
        base64(&noise(13, 3_000))
    );
    shelf.letter(
        "smime-signed",
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"----8F3A\"\n",
        &multipart("----8F3A", &[signed, &certificate]),
    );
    shelf.letter("smime-encrypted", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n", &base64(&noise(14, 6_000)));
}

/// Lines of uuencode begin with their length, which is a dot for 14 octets.
fn uuencode(octets: &[u8], per_line: usize) -> String {
    let six = |value: u8| char::from(if value == 0 { b'`' } else { value + 32 });
    let mut text = String::new();
    for line in octets.chunks(per_line) {
        text.push(six(u8::try_from(line.len()).unwrap_or_default()));
        for triple in line.chunks(3) {
            let mut bits = [0; 3];
            for (bit, octet) in bits.iter_mut().zip(triple) {
                *bit = *octet;
            }
            let [a, b, c] = bits;
            text.extend([a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63].map(six));
        }
        text.push('\n');
    }
    text.push_str("`\n");
    text
}

fn uuencoded(shelf: &mut Shelf) {
    let body = uuencode(&noise(15, 3_000), 45);
    shelf.letter("uuencoded", "", &format!("A file:\n\nbegin 644 data.bin\n{body}end\n\nand more text\n"));
    let dots = uuencode(&noise(16, 1_400), 14);
    shelf.letter("uuencoded-dots", "", &format!("begin 755 dots\n{dots}end\n"));
    shelf.letter("uuencoded-twice", "", &format!("begin 644 a\n{body}end\nbegin 644 b\n{dots}end\n"));
    shelf.letter("uuencoded-cut", "", &format!("begin 644 cut\n{}\n", &dots[..500]));
    shelf.letter("uuencoded-looks-like", "", "begin the day with coffee,\nend it with tea.\n");
}

/// yEnc: every octet plus 42, but for NUL, CR, LF and `=`, which are escaped. Many encoders leave dots to NNTP.
fn yenc() -> Vec<u8> {
    let data: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let mut text = crlf("=ybegin line=128 size=4096 name=every-octet.bin\n").into_bytes();
    for line in data.chunks(128) {
        for octet in line {
            match octet.wrapping_add(42) {
                critical @ (0 | b'\r' | b'\n' | b'=') => text.extend([b'=', critical.wrapping_add(64)]),
                plain => text.push(plain),
            }
        }
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(&crlf("=yend size=4096 crc32=52c1cc50\n").into_bytes());
    text
}
