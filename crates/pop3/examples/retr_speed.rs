//! How fast a server session hands out messages and listings: `cargo run --release -p packetboat-pop3 --example retr_speed`.
#![allow(clippy::print_stdout, missing_docs)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use packetboat_pop3::Server;
use packetboat_pop3::server::{Config, Event, Part};
use packetboat_wire::{Session, Step};

fn main() {
    let config = Arc::new(Config { plaintext_logins: true, ..Config::new("mail.example.org") });
    let line = b"The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n";
    for (messages, size) in [(100_000, 4_000), (20_000, 50_000), (100, 10_000_000)] {
        let message = Bytes::from(line.repeat(size / line.len()));
        let mut server = Server::new(config.clone(), [0; 32]);
        let start = Instant::now();
        let mut sent = 0;
        let mut listed = start;
        server.receive(b"USER a\r\nPASS b\r\nUIDL\r\nLIST\r\n");
        let mut at = 0;
        let mut next = 0;
        loop {
            match server.next(start) {
                Step::Send(bytes) => sent += bytes.len(),
                Step::Event(Event::Login(_)) => server.accept(),
                Step::Event(Event::OpenMaildrop) => server.maildrop(vec![message.len() as u64; messages]),
                Step::Event(Event::UniqueIds { first, count }) => {
                    server.unique_ids((first..first + count).map(|id| format!("{id:016x}")));
                }
                Step::Event(Event::Retrieve { part: Part::Whole, .. }) => {
                    at = 0;
                    server.begin_body();
                }
                Step::Event(Event::MoreBody) if at < message.len() => {
                    let end = message.len().min(at + 64 * 1024);
                    server.body_chunk(message.slice(at..end));
                    at = end;
                }
                Step::Event(Event::MoreBody) => server.body_end(),
                Step::Event(other) => panic!("{other:?}"),
                Step::Wait { .. } if next < messages => {
                    if next == 0 {
                        listed = Instant::now();
                    }
                    next += 1;
                    server.receive(format!("RETR {next}\r\n").as_bytes());
                }
                _ => break,
            }
        }
        let listing = listed - start;
        let retrieving = listed.elapsed();
        println!(
            "{messages} messages of {} octets: listings {listing:?}, retrieved in {retrieving:?}, {:.2} GB/s, {:.2} us a message",
            message.len(),
            sent as f64 / retrieving.as_secs_f64() / 1e9,
            retrieving.as_secs_f64() * 1e6 / messages as f64,
        );
    }
}
