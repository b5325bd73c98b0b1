//! How fast a server session takes messages in: `cargo run --release -p packetboat-smtp --example intake_speed`.
#![allow(clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::time::Instant;

use packetboat_smtp::Server;
use packetboat_smtp::server::{Config, Event, Role};
use packetboat_wire::{Session, Step};

/// What a driver reads at a time.
const READ: usize = 64 * 1024;

fn main() {
    let line = b"The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n";
    for (messages, size, recipients) in
        [(200_000, 4_000, 1), (200_000, 4_000, 10), (20_000, 50_000, 1), (20, 50_000_000, 1)]
    {
        let mut config = Config::new(Role::Exchange, "mail.example.org");
        config.limits.messages = u32::MAX;
        let mut envelope = b"MAIL FROM:<sender@client.example> SIZE=4000 BODY=8BITMIME\r\n".to_vec();
        for _ in 0..recipients {
            envelope.extend_from_slice(b"RCPT TO:<recipient@mail.example.org>\r\n");
        }
        envelope.extend_from_slice(b"DATA\r\n");
        let mut body = line.repeat(size / line.len());
        body.extend_from_slice(b".\r\n");
        let mut server = Server::new(Arc::new(config));
        let start = Instant::now();
        let mut taken = 0;
        let mut pump = |server: &mut Server| {
            loop {
                match server.next(start) {
                    Step::Event(Event::BodyChunk(piece)) => taken += piece.len(),
                    Step::Event(_) if server.question_open() => server.accept(),
                    Step::Event(_) | Step::Send(_) => {}
                    _ => break,
                }
            }
        };
        pump(&mut server);
        server.receive(b"EHLO client.example\r\n");
        for _ in 0..messages {
            server.receive(&envelope);
            pump(&mut server);
            for piece in body.chunks(READ) {
                server.receive(piece);
                pump(&mut server);
            }
        }
        let time = start.elapsed();
        println!(
            "{messages} messages of {} octets to {recipients}: {time:?}, {:.2} GB/s, {:.2} us a message",
            taken / messages,
            taken as f64 / time.as_secs_f64() / 1e9,
            time.as_secs_f64() * 1e6 / messages as f64,
        );
    }
}
