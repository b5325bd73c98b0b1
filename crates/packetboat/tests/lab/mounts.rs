//! Unpacked packages of Debian, laid over a host's `/usr` and `/etc` as if they were installed there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::net::Host;

/// The users that the packages would make, in the host's own `/etc` only.
const USERS: &[(&str, u32)] =
    &[("mailkeeper", MAIL_OWNER), ("postfix", 64101), ("postdrop", 64102), ("Debian-exim", 64105)];
/// Who owns delivered mail.
pub const MAIL_OWNER: u32 = 64100;

/// The unpacked packages called `name`.
pub fn tree(name: &str) -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debian").join(name);
    assert!(tree.join("versions").exists(), "{name} is missing: run `cargo xtask tools`");
    tree
}

/// Where a program of an unpacked tree finds its libraries.
pub fn libraries(tree: &Path) -> String {
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    format!("{0}/usr/lib/{machine}:{0}/usr/lib", tree.display())
}

/// Installs the tree on the host, which keeps what the daemons write in its own directory, seen at `/mnt`.
pub fn install(host: &Host, name: &str) {
    let tree = tree(name);
    let state = host.dir().join("state");
    for sub in ["etc", "run", "spool", "log", "mail", "work"] {
        std::fs::create_dir_all(state.join(sub)).unwrap();
    }
    for file in ["passwd", "group"] {
        let mut text = std::fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        for (user, id) in USERS {
            let rest =
                if file == "passwd" { format!("{id}::/nonexistent:/bin/false") } else { String::new() };
            let _ = writeln!(text, "{user}:x:{id}:{rest}");
        }
        std::fs::write(state.join("etc").join(file), text).unwrap();
    }
    std::fs::copy(host.dir().join("resolv.conf"), state.join("etc/resolv.conf")).unwrap();
    std::fs::write(state.join("etc/mailname"), format!("{}\n", host.name())).unwrap();
    host.shell(&format!(
        "umount /etc/resolv.conf\n\
         mount --bind {state} /mnt\n\
         mount -t overlay overlay -o lowerdir={tree}/usr:/usr /usr\n\
         mount -t overlay overlay -o lowerdir={state}/etc:{tree}/etc:/etc /etc\n\
         mount --bind /mnt/run /run\n\
         mount --bind /mnt/spool /var/spool\n\
         chown {MAIL_OWNER}:{MAIL_OWNER} /mnt/mail",
        state = state.display(),
        tree = tree.display(),
    ));
}

/// The messages that were delivered to a user of a foreign server, in no order.
pub fn maildir(host: &Host, user: &str) -> Vec<String> {
    let dir = host.dir().join("state/mail").join(user).join("new");
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| String::from_utf8_lossy(&std::fs::read(e.path()).unwrap()).into_owned()).collect()
}
