//! How fast bodies pass through the dot transforms: `cargo run --release -p packetboat-wire --example dot_speed`.
#![allow(clippy::print_stdout)] // printing is what it is for

use std::time::Instant;

use bytes::Bytes;
use packetboat_wire::{DotReader, DotStep, Endings, Input, Stuffer};

const READ: usize = 64 * 1024;
const TOTAL: usize = 4 << 30;

fn main() {
    let text = b"Call me Ishmael. Some years ago, never mind how long precisely, having little...\r\n";
    let dots = b".\r\n";
    for (name, line) in [("text", &text[..]), ("dots", &dots[..])] {
        let body = Bytes::from(line.repeat(READ / line.len()));
        let mut stuffer = Stuffer::new(Endings::MakeCrlf);
        rate(&format!("stuff {name}"), body.len(), || {
            std::hint::black_box(stuffer.stuff(body.clone()));
        });
        let mut stuffed = Stuffer::new(Endings::Keep);
        let wire = stuffed.stuff(body.clone());
        let (mut reader, mut input) = (DotReader::new(), Input::new());
        rate(&format!("read {name}"), wire.len(), || {
            input.push(&wire);
            while let DotStep::Chunk(chunk) = reader.next(&mut input) {
                std::hint::black_box(chunk);
            }
        });
    }
}

fn rate(name: &str, piece: usize, mut once: impl FnMut()) {
    let start = Instant::now();
    let times = TOTAL / piece / if name.ends_with("dots") { 16 } else { 1 };
    for _ in 0..times {
        once();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{name}: {:.2} GB/s", (times * piece) as f64 / seconds / 1e9);
}
