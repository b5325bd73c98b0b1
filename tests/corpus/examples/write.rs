//! Writes every message into a folder: `cargo run -p packetboat-corpus --example write -- FOLDER`.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "corpus".into()));
    std::fs::create_dir_all(&folder)?;
    let messages = packetboat_corpus::messages();
    for message in &messages {
        std::fs::write(folder.join(format!("{}.eml", message.name)), &message.octets)?;
    }
    println!("{} messages in {}", messages.len(), folder.display());
    Ok(())
}
