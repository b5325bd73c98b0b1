//! Files of lines with colons: ProFTPD's AuthUserFile and pure-ftpd's pureftpd.passwd.

use super::{Found, hash, networks};

/// ProFTPD: `name:hash:uid:gid:gecos:home:shell`, as passwd(5).
pub(super) fn auth_user_file(octets: &[u8]) -> Result<Vec<Found>, String> {
    lines(octets, |line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, secret, _, _, gecos, home, ..] = fields[..] else {
            return Err("it has not the seven fields of passwd(5)".to_owned());
        };
        // "*" and "!" before a hash lock an account.
        let unlocked = secret.trim_start_matches(['!', '*']);
        let called = gecos.split(',').next().unwrap_or_default();
        Ok(Found {
            name: name.to_owned(),
            secret: (!unlocked.is_empty()).then(|| hash(unlocked)),
            called: (!called.is_empty()).then(|| called.to_owned()),
            home: home_of(home),
            disabled: unlocked != secret,
            ..Found::default()
        })
    })
}

/// pure-ftpd's text form.
pub(super) fn pure_ftpd_file(octets: &[u8]) -> Result<Vec<Found>, String> {
    lines(octets, |line| {
        let (name, rest) = line.split_once(':').ok_or("there is no colon in it")?;
        pure_ftpd(name, rest)
    })
}

/// What follows the name, in the text form and in a PureDB: hash, uid, gid, gecos, home, rates of upload and download, ratios of both,
/// connections, files, octets, networks of the server that are allowed and denied, networks of the client, times of day.
pub(super) fn pure_ftpd(name: &str, rest: &str) -> Result<Found, String> {
    let fields: Vec<&str> = rest.split(':').collect();
    let field = |place: usize| fields.get(place).copied().unwrap_or_default();
    if fields.len() < 5 {
        return Err(format!("user {name}: some of its fields are missing"));
    }
    let number = |place: usize, what: &str| -> Result<Option<u64>, String> {
        match field(place) {
            "" => Ok(None),
            text => {
                let number = text.parse::<u64>().map_err(|_| format!("user {name}: {what} is {text:?}"))?;
                Ok(Some(number).filter(|number| *number > 0))
            }
        }
    };
    let mut lost = Vec::new();
    for (place, what) in [(7, "upload ratio"), (8, "download ratio"), (16, "times of day")] {
        if !field(place).is_empty() {
            lost.push(format!("{what} {}", field(place)));
        }
    }
    for (place, what) in [(12, "allowed"), (13, "denied")] {
        if !field(place).is_empty() {
            lost.push(format!("{what} addresses of the server {}", field(place)));
        }
    }
    let (allowed, odd) = networks(field(14));
    lost.extend(odd.into_iter().map(|item| format!("allowed client {item}")));
    let (denied, odd) = networks(field(15));
    lost.extend(odd.into_iter().map(|item| format!("denied client {item}")));
    let secret = field(0);
    let gecos = field(3);
    Ok(Found {
        name: name.to_owned(),
        secret: (!secret.is_empty() && secret != "*").then(|| hash(secret)),
        called: (!gecos.is_empty()).then(|| gecos.to_owned()),
        home: home_of(field(4)),
        upload_rate: number(5, "the rate of upload")?,
        download_rate: number(6, "the rate of download")?,
        connections: number(9, "the number of connections")?,
        quota_files: number(10, "the number of files")?,
        quota: number(11, "the quota")?,
        networks: allowed,
        denied_networks: denied,
        lost,
        ..Found::default()
    })
}

/// A home; what pure-ftpd puts behind one to keep its user there is what everybody has here.
fn home_of(text: &str) -> Option<String> {
    let home = text.strip_suffix("/./").unwrap_or(text);
    let home = if home.len() > 1 { home.trim_end_matches('/') } else { home };
    home.starts_with('/').then(|| home.to_owned())
}

fn lines(octets: &[u8], take: impl Fn(&str) -> Result<Found, String>) -> Result<Vec<Found>, String> {
    let text = std::str::from_utf8(octets).map_err(|_| "it is not text".to_owned())?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        users.push(take(line).map_err(|why| format!("line {}: {why}", number + 1))?);
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use packetboat_server::admin::NewPassword;

    #[test]
    fn a_line_of_pure_ftpd() {
        // As pure-pw 1.0.50 wrote it, by -t 20 -T 30 -n 100 -N 50 -y 5 -r 192.0.2.0/24 -I 10.0.0.0/8 -z 0800-1800.
        let line = b"joe:$1$x$V8zBWdyZPpgBvro9XebQn/:1000:1000::/home/ftp/joe/./:30720:20480:::5:100:52428800::10.0.0.0/8:192.0.2.0/24::800-1800\n";
        let users = pure_ftpd_file(line).unwrap();
        let joe = &users[0];
        assert_eq!((&joe.name[..], joe.home.as_deref()), ("joe", Some("/home/ftp/joe")));
        assert_eq!((joe.upload_rate, joe.download_rate), (Some(30_720), Some(20_480)));
        assert_eq!((joe.connections, joe.quota_files, joe.quota), (Some(5), Some(100), Some(52_428_800)));
        assert_eq!(joe.networks, ["192.0.2.0/24"]);
        assert_eq!(joe.denied_networks, [""; 0]);
        assert_eq!(joe.lost, ["times of day 800-1800", "denied addresses of the server 10.0.0.0/8"]);
        assert!(matches!(&joe.secret, Some(NewPassword::Hash(_))));
        for wrong in ["nothing", "joe:x", "joe:x:1:1::/home:many::::::::::::", "\u{e9}"] {
            assert!(pure_ftpd_file(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(pure_ftpd_file(b"\xff").is_err());
    }

    #[test]
    fn a_line_of_proftpd() {
        let file = b"# users\n\nbob:!$5$salt$hash:1001:1001:Bob B.,,,:/srv/ftp/bob/:/bin/false\nann:*:1:1::relative:\n";
        let users = auth_user_file(file).unwrap();
        assert_eq!((&users[0].name[..], users[0].called.as_deref()), ("bob", Some("Bob B.")));
        assert_eq!((users[0].home.as_deref(), users[0].disabled), (Some("/srv/ftp/bob"), true));
        assert!(users[1].secret.is_none() && users[1].home.is_none());
        assert!(auth_user_file(b"bob:x:1\n").unwrap_err().starts_with("line 1: "));
    }
}
