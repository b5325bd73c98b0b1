//! vsftpd's virtual users: it leaves them to PAM, so they lie in whatever form the PAM module reads.

use std::collections::HashSet;
use std::path::Path;

use super::{AdminError, Found, ImportArgs, NewPassword, hash, plain, read};

/// What lies beside the file with the users.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Those who may not log in; or may, if `allows`.
    listed: Option<HashSet<String>>,
    allows: bool,
    config: Option<std::path::PathBuf>,
}

impl Beside {
    pub(super) fn of(args: &ImportArgs) -> Result<Beside, AdminError> {
        let listed = match &args.userlist {
            None => None,
            Some(file) => {
                let octets = read(file)?;
                let text = String::from_utf8_lossy(&octets);
                let names =
                    text.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'));
                Some(names.map(str::to_owned).collect())
            }
        };
        Ok(Beside { listed, allows: args.userlist_allows, config: args.user_config.clone() })
    }

    fn is_kept_out(&self, name: &str) -> bool {
        self.listed.as_ref().is_some_and(|listed| listed.contains(name) != self.allows)
    }
}

/// Reads users in any of the forms.
pub(super) fn users(octets: &[u8], beside: &Beside) -> Result<Vec<Found>, String> {
    let text = std::str::from_utf8(octets)
        .map_err(|_| "it is not text; of a database, give what `db_dump -p` says of it".to_owned())?;
    let mut pairs = if text.starts_with("VERSION=") {
        dump(text)?
    } else if let Some(pairs) = pwdfile(text) {
        pairs
    } else {
        alternating(text)?
    };
    pairs.retain(|(name, _)| !name.is_empty());
    pairs.into_iter().map(|(name, secret)| user(name, secret, beside)).collect()
}

fn user(name: String, secret: NewPassword, beside: &Beside) -> Result<Found, String> {
    let mut user = Found { disabled: beside.is_kept_out(&name), secret: Some(secret), ..Found::default() };
    if let Some(config) = &beside.config
        // The name is a file's name here, and no path.
        && !name.contains('/')
        && !matches!(&name[..], "." | "..")
    {
        let file = config.join(&name);
        if file.exists() {
            configure(&mut user, &file).map_err(|why| format!("{}: {why}", file.display()))?;
        }
    }
    user.name = name;
    Ok(user)
}

/// What the user's own settings say.
fn configure(user: &mut Found, file: &Path) -> Result<(), String> {
    let octets = read(file).map_err(|error| error.to_string())?;
    for line in String::from_utf8_lossy(&octets).lines() {
        let line = line.trim();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let number = || value.parse::<u64>().map_err(|_| format!("{line:?} is no number"));
        match key {
            "local_root" if value.starts_with('/') => {
                user.home = Some(value.trim_end_matches('/').to_owned())
            }
            "local_max_rate" => {
                // Both ways, and 0 is no limit.
                let rate = Some(number()?).filter(|rate| *rate > 0);
                (user.upload_rate, user.download_rate) = (rate, rate);
            }
            "max_per_ip" | "max_clients" => user.lost.push(line.to_owned()),
            _ => user.lost.push(line.to_owned()),
        }
    }
    Ok(())
}

/// Names and passwords in alternating lines, as for `db_load -T`.
fn alternating(text: &str) -> Result<Vec<(String, NewPassword)>, String> {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let lines = lines.strip_suffix(&[""]).unwrap_or(&lines);
    if !lines.len().is_multiple_of(2) {
        return Err(
            "its lines are not names and passwords by turns: there is an odd number of them".to_owned()
        );
    }
    let pair = |pair: &[&str]| match pair {
        [name, secret] => Some(((*name).to_owned(), secret_of(secret))),
        _ => None,
    };
    Ok(lines.chunks(2).filter_map(pair).collect())
}

/// `name:hash`, and more behind another colon that nobody asks for; nothing if it is not of that form.
fn pwdfile(text: &str) -> Option<Vec<(String, NewPassword)>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let secret = rest.split(':').next().unwrap_or_default();
        let looks_hashed = secret.starts_with(['$', '{', '_', '*', '!']) || secret.len() == 13;
        looks_hashed.then(|| (name.to_owned(), hash(secret)))
    };
    lines.map(pair).collect()
}

/// What db_dump says: pairs of lines between two marks, each with a blank before it; octets in hexadecimal digits, or printable
/// ones as they are and others as `\xx`.
fn dump(text: &str) -> Result<Vec<(String, NewPassword)>, String> {
    let mut lines = text.lines();
    let mut printed = false;
    for line in lines.by_ref() {
        match line.trim() {
            "format=print" => printed = true,
            "HEADER=END" => break,
            _ => {}
        }
    }
    let mut items = Vec::new();
    let mut ended = false;
    for line in lines {
        if line.trim_end() == "DATA=END" {
            ended = true;
            break;
        }
        let line = line.strip_prefix(' ').ok_or("a line of the dump does not begin with a blank")?;
        let octets = if printed { unescaped(line) } else { digits(line.as_bytes()) };
        let octets = octets.ok_or_else(|| format!("{line:?} is no line of a dump"))?;
        // db_load -T may have kept the end of a C string.
        let text = String::from_utf8(octets).map_err(|_| "an entry of the dump is not text")?;
        items.push(text.trim_end_matches('\0').to_owned());
    }
    if !ended || !items.len().is_multiple_of(2) {
        return Err("the dump is cut off".to_owned());
    }
    let pair = |pair: &[String]| match pair {
        [name, secret] => Some((name.clone(), secret_of(secret))),
        _ => None,
    };
    Ok(items.chunks(2).filter_map(pair).collect())
}

fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| match pair {
        [high, low] => {
            let value = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(value(*high)? * 16 + value(*low)?).ok()
        }
        _ => None,
    };
    text.chunks(2).map(pair).collect()
}

fn unescaped(line: &str) -> Option<Vec<u8>> {
    let (mut octets, mut rest) = (Vec::new(), line.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            octets.push(first);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            octets.push(b'\\');
            rest = after;
        } else {
            let (pair, after) = rest.split_at_checked(2)?;
            octets.extend(digits(pair)?);
            rest = after;
        }
    }
    Some(octets)
}

/// Passwords stand there as they are, unless PAM was told that they are hashes (crypt=hash).
fn secret_of(text: &str) -> NewPassword {
    let is_hash = ["$1$", "$apr1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$7$", "$argon2"]
        .iter()
        .any(|it| text.starts_with(it));
    if is_hash { hash(text) } else { plain(text) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use packetboat_server::admin::Password;

    use super::*;

    fn told(text: &str, beside: &Beside) -> Vec<String> {
        let told = |user: Found| match user.secret {
            Some(NewPassword::Plain(Password(secret))) => {
                format!("{} {} {}", user.name, secret.expose(), user.disabled)
            }
            Some(NewPassword::Hash(Password(secret))) => {
                format!("{} hash {} {}", user.name, secret.expose(), user.disabled)
            }
            None => user.name,
        };
        users(text.as_bytes(), beside).unwrap().into_iter().map(told).collect()
    }

    #[test]
    fn users_in_every_form() {
        let beside = Beside::default();
        let wanted = ["joe secret1 false", "amy secret2 false"];
        assert_eq!(told("joe\nsecret1\namy\nsecret2\n", &beside), wanted);
        assert_eq!(told("joe\r\nsecret1\r\namy\r\nsecret2\r\n\r\n", &beside), wanted);
        // As db5.3_dump writes it, with and without -p.
        let head = "VERSION=3\nformat=bytevalue\ntype=hash\nh_nelem=2\ndb_pagesize=4096\nHEADER=END\n";
        let dump = format!("{head} 6a6f65\n 73656372657431\n 616d79\n 73656372657432\nDATA=END\n");
        assert_eq!(told(&dump, &beside), wanted);
        let printed = "VERSION=3\nformat=print\ntype=hash\nHEADER=END\n joe\n secret1\n a\\6dy\n secr\\65t2\nDATA=END\n";
        assert_eq!(told(printed, &beside), wanted);
        let pwdfile = "# users\njoe:$1$x$V8zBWdyZPpgBvro9XebQn/\namy:abSQqR3lgjqok:more\n";
        assert_eq!(
            told(pwdfile, &beside),
            ["joe hash $1$x$V8zBWdyZPpgBvro9XebQn/ false", "amy hash abSQqR3lgjqok false"]
        );
        assert_eq!(told("joe\n$6$salt$hash\n", &beside), ["joe hash $6$salt$hash false"]);
        for wrong in [
            &b"joe\n"[..],
            b"\xff",
            b"VERSION=3\nHEADER=END\n 6a\n",
            b"VERSION=3\nHEADER=END\n 6\n 6a\nDATA=END\n",
        ] {
            assert!(users(wrong, &beside).is_err(), "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn lists_and_settings_of_users() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("joe"),
            "# his own\nlocal_root=/srv/joe/\nlocal_max_rate=1000\nwrite_enable=YES\n",
        )
        .unwrap();
        let listed = |allows| Beside {
            listed: Some(HashSet::from(["joe".to_owned()])),
            allows,
            config: Some(dir.path().to_owned()),
        };
        let text = "joe\nsecret1\namy\nsecret2\n";
        assert_eq!(told(text, &listed(false)), ["joe secret1 true", "amy secret2 false"]);
        assert_eq!(told(text, &listed(true)), ["joe secret1 false", "amy secret2 true"]);
        let joe = users(text.as_bytes(), &listed(true)).unwrap().remove(0);
        assert_eq!(
            (joe.home.as_deref(), joe.upload_rate, joe.download_rate),
            (Some("/srv/joe"), Some(1000), Some(1000))
        );
        assert_eq!(joe.lost, ["write_enable=YES"]);
    }
}
