//! The decoders of `wire`.

use bytes::Bytes;
use packetboat_wire::sasl::{
    Ask, Client, Credentials, Mechanism, ScramKeys, Server, ServerStep, decode_base64, encode_base64,
};
use packetboat_wire::{
    ChannelBinding, Defects, DotReader, DotStep, Endings, Input, LineEnding, LineError, Reply, ReplyParser,
    ReplyStyle, Stuffer,
};

use crate::{parameters, pieces};

/// Lines do not depend on how they arrive, and are bounded.
pub fn line(data: &[u8]) {
    let ([max, ending, how], octets) = parameters(data);
    let max = usize::from(max) + 2;
    let ending = if ending % 2 == 0 { LineEnding::Crlf } else { LineEnding::CrlfOrLf };
    let read = |how| {
        let mut input = Input::new();
        let mut lines: Vec<Result<Bytes, LineError>> = Vec::new();
        for piece in pieces(octets, how) {
            input.push(piece);
            while let Some(line) = input.take_line(max, ending).transpose() {
                if let Ok(line) = &line {
                    assert!(line.len() < max && !line.contains(&b'\n') && !line.contains(&b'\r'));
                }
                lines.push(line);
            }
            assert!(input.len() < max);
        }
        (lines, input.as_slice().to_vec())
    };
    let (whole, cut) = (read(0), read(how));
    assert_eq!(whole.0, cut.0);
    // Lines that were refused need not leave the same behind; it is skipped either way.
    if whole.0.iter().all(Result::is_ok) {
        assert_eq!(whole.1, cut.1);
    }
}

/// Replies do not depend on how they arrive, and survive encoding.
pub fn reply(data: &[u8]) {
    let ([style, how], octets) = parameters(data);
    let style = if style % 2 == 0 { ReplyStyle::Smtp } else { ReplyStyle::Ftp };
    let read = |octets: &[u8], how| {
        let (mut parser, mut input, mut replies) = (ReplyParser::new(style), Input::new(), Vec::new());
        for piece in pieces(octets, how) {
            input.push(piece);
            while let Some(reply) = parser.next(&mut input).transpose() {
                let failed = reply.is_err();
                replies.push(reply);
                if failed {
                    return replies;
                }
            }
        }
        replies
    };
    let replies = read(octets, 0);
    assert_eq!(replies, read(octets, how));
    for reply in replies.into_iter().flatten() {
        assert!(!reply.text().contains(['\r', '\0']));
        let again = |reply: &Reply| match &read(&reply.encode(style), how)[..] {
            [Ok(again)] => Some(again.clone()),
            // Text of 64 kB may encode to more than a reader takes.
            other => {
                assert!(reply.text().len() > 50 * 1024, "{reply:?} is read as {other:?}");
                None
            }
        };
        // Control characters become spaces, which may show an enhanced code, which leaves less room on a line: only
        // after that does a reply stay what it is.
        let Some(third) = again(&reply).and_then(|second| again(&second)) else { return };
        assert_eq!(third.code(), reply.code());
        match (again(&third), style) {
            (None, _) => {}
            (Some(fourth), ReplyStyle::Smtp) => assert_eq!(fourth, third),
            (Some(fourth), ReplyStyle::Ftp) => assert_eq!(squeezed(&fourth), squeezed(&reply)),
        }
    }
}

/// The text of a reply without what indenting and folding may change.
fn squeezed(reply: &Reply) -> String {
    reply.text().replace([' ', '\n'], "")
}

/// A received body against the definition: its end, its content, its defects.
pub fn dot_read(data: &[u8]) {
    let ([how], wire) = parameters(data);
    let (mut reader, mut input) = (DotReader::new(), Input::new());
    let (mut content, mut ended) = (Vec::new(), false);
    for piece in pieces(wire, how) {
        input.push(piece);
        while !ended {
            match reader.next(&mut input) {
                DotStep::Chunk(chunk) => content.extend_from_slice(&chunk),
                DotStep::End => ended = true,
                DotStep::More => break,
            }
        }
        assert!(ended || input.len() <= 2);
    }
    assert_eq!(reader.octets(), content.len() as u64);

    // A CRLF in front stands for the one that ended the DATA line.
    let lined = [b"\r\n", wire].concat();
    let end = lined.windows(5).position(|window| window == b"\r\n.\r\n");
    assert_eq!(ended, end.is_some());
    let body = &wire[..end.unwrap_or(wire.len() - input.len())];
    let mut expected = Vec::new();
    let mut defects = Defects::default();
    for (i, &octet) in body.iter().enumerate() {
        if octet != b'.' || !lined[..i + 2].ends_with(b"\r\n") {
            expected.push(octet);
        }
        defects.nul |= octet == 0;
        defects.bare_cr |= octet == b'\r' && wire.get(i + 1) != Some(&b'\n');
        defects.bare_lf |= octet == b'\n' && (i == 0 || body[i - 1] != b'\r');
    }
    assert_eq!(content, expected);
    assert_eq!(reader.defects(), defects);
    if let Some(end) = end {
        assert_eq!(input.as_slice(), &lined[end + 5..]);
    }
}

/// What was stuffed is read back.
pub fn dot_round_trip(data: &[u8]) {
    let ([out, back, endings], body) = parameters(data);
    let endings = if endings % 2 == 0 { Endings::Keep } else { Endings::MakeCrlf };
    let mut stuffer = Stuffer::new(endings);
    let mut wire = Vec::new();
    for piece in pieces(body, out) {
        wire.extend_from_slice(&stuffer.stuff(Bytes::copy_from_slice(piece)));
    }
    wire.extend_from_slice(&stuffer.finish());
    assert_eq!(stuffer.octets(), wire.len() as u64);

    let mut expected = match endings {
        Endings::Keep => body.to_vec(),
        Endings::MakeCrlf => {
            let text: Vec<u8> = body.to_vec();
            let mut made = Vec::new();
            for (i, &octet) in text.iter().enumerate() {
                match octet {
                    b'\n' if i > 0 && text[i - 1] == b'\r' => {}
                    b'\r' | b'\n' => made.extend_from_slice(b"\r\n"),
                    _ => made.push(octet),
                }
            }
            made
        }
    };
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    let (mut reader, mut input) = (DotReader::with_lines(LineEnding::CrlfOrLf), Input::new());
    let (mut content, mut ended) = (Vec::new(), false);
    for piece in pieces(&wire, back) {
        input.push(piece);
        while !ended {
            match reader.next(&mut input) {
                DotStep::Chunk(chunk) => content.extend_from_slice(&chunk),
                DotStep::End => ended = true,
                DotStep::More => break,
            }
        }
    }
    assert!(ended && input.is_empty());
    assert_eq!(content, expected);
    if endings == Endings::MakeCrlf {
        assert!(!reader.defects().bare_endings());
    }
}

fn bindings(how: u8) -> Vec<ChannelBinding> {
    let kinds = [ChannelBinding::TlsExporter(vec![1; 32]), ChannelBinding::TlsServerEndPoint(vec![2; 32])];
    kinds.into_iter().enumerate().filter(|(i, _)| how >> i & 1 == 1).map(|(_, kind)| kind).collect()
}

/// Messages in the data: a length, then so many octets.
fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (message, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        data = rest;
        Some(message)
    })
}

/// A server is never satisfied by somebody who does not know the password.
pub fn sasl_server(data: &[u8]) {
    let ([mechanism, channel, wait], rest) = parameters(data);
    let mechanism = Mechanism::ALL[usize::from(mechanism) % Mechanism::ALL.len()];
    let mut server = Server::start(mechanism, &bindings(channel), b"server nonce");
    let mut accepted = false;
    let mut step = if wait % 2 == 0 { server.initial(None) } else { ServerStep::Challenge(Vec::new()) };
    let mut messages = messages(rest);
    loop {
        step = match step {
            ServerStep::Challenge(challenge) => {
                assert!(challenge.len() <= 2 * rest.len() + 200);
                let Some(message) = messages.next() else { return };
                if let Ok(decoded) = decode_base64(message) {
                    assert_eq!(encode_base64(decoded.expose()).as_bytes(), message);
                }
                server.step(message)
            }
            ServerStep::Ask(Ask::Password { authcid, password, .. }) => {
                assert!(!authcid.is_empty() && !password.expose().is_empty());
                accepted = authcid == "user" && password.expose() == "pencil";
                if accepted { server.accept() } else { server.reject() }
            }
            ServerStep::Ask(Ask::ScramKeys { authcid, hash, .. }) => {
                assert!(!authcid.is_empty());
                server.scram_keys(vec![ScramKeys::fake(hash, b"site", &authcid, 4096)])
            }
            ServerStep::Ask(Ask::SharedSecret { authcid, .. }) => {
                assert!(!authcid.is_empty());
                server.reject()
            }
            ServerStep::Done(done) => {
                assert!(accepted && done.authcid == "user");
                return;
            }
            ServerStep::Failed(_) => {
                assert!(matches!(server.step(b""), ServerStep::Failed(_)), "goes on after failing");
                return;
            }
        };
    }
}

/// A client does not believe a server that does not know the account.
pub fn sasl_client(data: &[u8]) {
    let ([mechanism, channel, first], rest) = parameters(data);
    let mechanism = Mechanism::ALL[usize::from(mechanism) % Mechanism::ALL.len()];
    let credentials = Credentials { username: "us,=er".to_owned(), password: "pencil".into(), authzid: None };
    let Ok(mut client) = Client::new(mechanism, credentials, &bindings(channel), b"c") else { return };
    if first % 2 == 0 {
        client.initial();
    }
    for message in messages(rest) {
        match client.step(message) {
            Ok(response) => assert!(response.expose().len() <= 2 * rest.len() + 400),
            Err(_) => {
                assert!(client.step(b"").is_err(), "goes on after failing");
                assert!(client.success().is_err());
                return;
            }
        }
    }
    if mechanism.scram_hash().is_some() {
        assert!(client.success().is_err(), "believes a server without a signature");
    }
}

/// A certificate, which comes from whoever is at the other end, gives a binding or none.
pub fn certificate(data: &[u8]) {
    if let Some(ChannelBinding::TlsServerEndPoint(hash)) = ChannelBinding::end_point(data) {
        assert!(matches!(hash.len(), 32 | 48 | 64));
    }
}
