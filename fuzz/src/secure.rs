//! What other domains say of how their servers are to be known.

use std::fmt::Write as _;

use packetboat_mail::secure::sts::{MAX_AGE, Mode, Policy, policy_id};

/// An MTA-STS policy: what is read is written again, and read the same; each server that it names is allowed.
pub fn sts_policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    assert!(policy.max_age <= MAX_AGE);
    assert!(policy.mode == Mode::None || !policy.mx.is_empty());
    let mode = match policy.mode {
        Mode::Enforce => "enforce",
        Mode::Testing => "testing",
        Mode::None => "none",
    };
    let mut text = format!("version: STSv1\nmode: {mode}\nmax_age: {}\n", policy.max_age.as_secs());
    for pattern in &policy.mx {
        let _ = writeln!(text, "mx: {pattern}");
        let name = pattern.to_string();
        assert!(policy.allows(&name.replace('*', "one")), "{name}");
    }
    assert_eq!(Policy::parse(text.as_bytes()).as_ref(), Ok(&policy), "{text}");
}

/// The TXT records that announce one, a line each: whatever is found is an id, and two announcements are none.
pub fn sts_record(data: &[u8]) {
    let records: Vec<&[u8]> = data.split(|octet| *octet == b'\n').collect();
    let Some(id) = policy_id(records.iter().copied()) else { return };
    assert!((1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric()), "{id}");
    let again = format!("v=STSv1; id={id}");
    assert_eq!(policy_id([again.as_bytes()]), Some(id));
    assert_eq!(policy_id(records.iter().copied().chain([again.as_bytes()])), None);
}
