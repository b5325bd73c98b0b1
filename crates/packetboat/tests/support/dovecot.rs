//! Debian's Dovecot, as another IMAP server to ask the same: its `imap` program alone, one process for a connection,
//! which needs no log-in, no service around it and no port below 1024.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Who owns the mail where the test runs as root, for whom Dovecot keeps none.
const MAIL_OWNER: u32 = 64100;

/// A user's Maildir and the address at which it is served, to one user who is logged in already.
#[derive(Debug)]
pub struct Dovecot {
    at: SocketAddr,
    children: Arc<Mutex<Vec<Child>>>,
    _dir: tempfile::TempDir,
}

impl Dovecot {
    /// An empty Maildir that is served, with the mailboxes an account has here at its birth.
    pub fn start() -> Dovecot {
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debian/dovecot");
        assert!(tree.join("versions").exists(), "Dovecot is missing: run `cargo xtask tools`");
        let dir = tempfile::Builder::new().prefix("dovecot-test-").tempdir().unwrap();
        let owner = std::fs::metadata(dir.path()).unwrap().uid();
        let owner = if owner == 0 { MAIL_OWNER } else { owner };
        let config = dir.path().join("dovecot.conf");
        std::fs::write(&config, configuration(dir.path(), &tree, owner)).unwrap();
        chown(dir.path(), Some(owner), (owner == MAIL_OWNER).then_some(owner)).unwrap();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let children = Arc::new(Mutex::new(Vec::new()));
        let (started, home) = (Arc::clone(&children), dir.path().to_owned());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                let mut command = program(&tree, &home, owner);
                let out = socket.try_clone().unwrap();
                command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::from(OwnedFd::from(out)));
                started.lock().unwrap().push(command.stderr(Stdio::null()).spawn().unwrap());
            }
        });
        Dovecot { at, children, _dir: dir }
    }

    pub fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        for child in self.children.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What is not named is as Debian has it.
fn configuration(home: &Path, tree: &Path, owner: u32) -> String {
    let special: String = ["Archive", "Drafts", "Junk", "Sent", "Trash"]
        .iter()
        .map(|name| format!("mailbox {name} {{\nauto = subscribe\nspecial_use = \\{name}\n}}\n"))
        .collect();
    format!(
        "base_dir = {0}/base\nstate_dir = {0}/base\nlibexec_dir = {1}/usr/lib/dovecot\nssl = no\n\
         mail_location = maildir:{0}/Maildir\nmail_uid = {owner}\nfirst_valid_uid = 1\nfirst_valid_gid = 0\n\
         mail_fsync = never\n\
         namespace inbox {{\ninbox = yes\nseparator = /\nmailbox INBOX {{\nauto = subscribe\n}}\n{special}}}\n",
        home.display(),
        tree.display()
    )
}

/// The program for one connection; `doveconf` reads the configuration for it.
fn program(tree: &Path, home: &Path, owner: u32) -> Command {
    let libraries = tree.join("usr/lib");
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    let path = [libraries.join("dovecot"), libraries.join(machine)];
    let mut command;
    if owner == MAIL_OWNER {
        // The build may lie where only root may enter.
        command = Command::new("setpriv");
        command.args(["--reuid", &owner.to_string(), "--regid", &owner.to_string(), "--clear-groups"]);
        command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
        command.arg(tree.join("usr/bin/doveconf"));
    } else {
        command = Command::new(tree.join("usr/bin/doveconf"));
    }
    command.args(["-f", "service=imap", "-c"]).arg(home.join("dovecot.conf")).args(["-m", "imap", "-e"]);
    command.arg(libraries.join("dovecot/imap")).current_dir(home).env_clear();
    command.env("PATH", "/usr/bin:/bin").env("HOME", home).env("USER", "bob");
    command.env("LD_LIBRARY_PATH", std::env::join_paths(path).unwrap());
    command
}
