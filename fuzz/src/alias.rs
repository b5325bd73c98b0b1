//! What is read of aliases and of return paths.

use jiff::Timestamp;
use packetboat_mail::alias::srs::{self, Key};
use packetboat_mail::alias::{FileTarget, parse_file, parse_include};
use packetboat_message::{Address, Domain};

/// An aliases file: the addresses that are read, written as a file again, are read the same.
pub fn aliases_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(domain) = Domain::parse("example.org") else { return };
    let _ = parse_include(&text, &domain);
    for entry in parse_file(&text, &domain).entries {
        // Such names are addresses elsewhere, and begin a comment or a command here.
        let plain = |address: &Address| !address.to_string().starts_with(['#', '|']);
        let addresses: Vec<&Address> = entry
            .targets
            .iter()
            .filter_map(|target| match target {
                FileTarget::Address(address) => Some(address),
                FileTarget::Include(_) | FileTarget::Command(_) | FileTarget::File(_) => None,
            })
            .collect();
        if addresses.is_empty() || !plain(&entry.name) || !addresses.iter().all(|address| plain(address)) {
            continue;
        }
        let targets: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let written = format!("{}:\n {}\n", entry.name, targets.join(",\n\t"));
        let again = parse_file(&written, &domain);
        assert!(again.troubles.is_empty(), "{written}: {:?}", again.troubles);
        let expected: Vec<FileTarget> = addresses.into_iter().cloned().map(FileTarget::Address).collect();
        assert_eq!(again.entries.len(), 1, "{written}");
        assert_eq!(
            (&again.entries[0].name, &again.entries[0].targets),
            (&entry.name, &expected),
            "{written}"
        );
    }
}

/// A sender's address: the return path made of it leads back to it, in lower case too, and by no other key. And
/// whatever else looks like a return path leads nowhere.
pub fn return_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (key, other) = (Key::new(b"key"), Key::new(b"other"));
    let (Ok(domain), now) = (Domain::parse("fwd.example"), Timestamp::UNIX_EPOCH) else { return };
    assert!(srs::reverse(text, std::slice::from_ref(&key), now).is_err(), "forged: {text}");
    let Ok(sender) = Address::parse(text) else { return };
    let Ok(made) = srs::forward(&sender, &domain, &key, now) else { return };
    let made = made.local().as_str();
    assert!(srs::is_made(made));
    assert!(srs::reverse(made, &[other], now).is_err(), "by another key: {made}");
    let keys = [key];
    match srs::reverse(made, &keys, now) {
        // The way back is by the first forwarder.
        Ok(back) if srs::is_made(sender.local().as_str()) => assert!(srs::is_made(back.local().as_str())),
        Ok(back) => assert_eq!(back.lookup_key(), sender.lookup_key(), "{made}"),
        // Another forwarder's address need not be one.
        Err(_) => assert!(srs::is_made(sender.local().as_str()), "{made}"),
    }
    if made.is_ascii() && srs::reverse(made, &keys, now).is_ok() {
        assert!(srs::reverse(&made.to_ascii_lowercase(), &keys, now).is_ok(), "{made}");
    }
}
