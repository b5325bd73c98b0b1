//! Other people's programs, run to their end and shown when they fail.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// How many seconds a foreign program may run.
const SECONDS: &str = "300";
/// The same where it is given ten times the work.
const LONG_SECONDS: &str = "1200";

/// Where a foreign program is. A missing one fails the test and names its Debian package.
pub fn program_path(program: &str) -> PathBuf {
    let package = match program {
        "getmail" => "getmail6",
        "nc" => "netcat-openbsd",
        "smtp-source" | "smtp-sink" => "postfix",
        "mbsync" => "isync",
        "offlineimap" => "offlineimap3",
        "imapclient-python" => "python3-venv",
        "script" => "bsdutils",
        "ncftpput" | "ncftpget" | "ncftpls" => "ncftp",
        other => other,
    };
    find(program).unwrap_or_else(|| {
        panic!("{program} is missing: run `cargo xtask tools`, or as root `apt-get install {package}`")
    })
}

/// A foreign program that is there. A missing one fails the test and names its Debian package.
pub fn foreign(program: &str) -> Foreign {
    let path = program_path(program);
    let mut command = Command::new("timeout");
    let seconds = if std::env::var_os("PACKETBOAT_LONG").is_some() { LONG_SECONDS } else { SECONDS };
    command.args(["--kill-after=5", seconds]).arg(path);
    // What a program does must not depend on who runs it.
    for name in
        ["HOME", "LANG", "LANGUAGE", "MAIL", "EMAIL", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"]
    {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8");
    Foreign { command, input: Vec::new() }
}

fn find(program: &str) -> Option<PathBuf> {
    // `cargo xtask tools` puts what it must not install beside the build.
    let beside_the_build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("tools/bin");
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/usr/sbin".into(), beside_the_build])
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// A foreign program about to be run.
#[derive(Debug)]
pub struct Foreign {
    command: Command,
    input: Vec<u8>,
}

/// What a program wrote, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub out: Vec<u8>,
    pub err: String,
    pub code: Option<i32>,
}

impl Foreign {
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Foreign {
        self.command.arg(argument);
        self
    }

    /// Arguments in one string, separated by spaces.
    pub fn args(mut self, arguments: &str) -> Foreign {
        self.command.args(arguments.split_whitespace());
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Foreign {
        self.command.env(name, value);
        self
    }

    pub fn dir(mut self, dir: &Path) -> Foreign {
        self.command.current_dir(dir);
        self
    }

    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Foreign {
        self.input = bytes.into();
        self
    }

    /// Runs it, whatever comes of it.
    pub fn attempt(mut self) -> Said {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{:?}: {e}", self.command));
        let mut stdin = child.stdin.take().unwrap();
        let input = std::mem::take(&mut self.input);
        // A program need not read all it is given.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Said { out: output.stdout, err, code: output.status.code() }
    }

    /// Runs it; it must succeed.
    pub fn run(self) -> Said {
        let shown = format!("{:?}", self.command);
        let said = self.attempt();
        assert_eq!(said.code, Some(0), "{shown}\n{}", said.text());
        said
    }
}

impl Foreign {
    /// Starts it to talk with it, line by line.
    pub fn converse(mut self) -> Terminal {
        let mut child =
            self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        let screen = BufReader::new(child.stdout.take().unwrap());
        Terminal { child, keys, screen, seen: String::new() }
    }
}

/// A program that carries what is typed, and shows what is answered.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: BufReader<ChildStdout>,
    seen: String,
}

impl Terminal {
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Types a line and the return key; the program makes CR LF of it.
    pub fn say(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
    }

    /// Waits until this stands on the screen.
    pub fn see(&mut self, text: &str) {
        let mut new = Vec::new();
        while !String::from_utf8_lossy(&new).contains(text) {
            let mut byte = [0];
            let read = self.screen.read(&mut byte).unwrap();
            let screen = || String::from_utf8_lossy(&new).escape_debug().to_string();
            assert_ne!(read, 0, "it ended before {text:?}:\n{}{}", self.seen, screen());
            new.push(byte[0]);
        }
        self.seen += &String::from_utf8_lossy(&new);
    }

    /// Waits for its end, which must be a success.
    pub fn end(mut self) {
        assert!(self.child.wait().unwrap().success(), "{}", self.seen);
    }

    /// Reads the next reply, which must begin so; what the program itself says is passed over. Returns its last line.
    pub fn expect(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.screen.read_line(&mut line).unwrap();
            self.seen += &line;
            assert_ne!(read, 0, "it ended before {beginning}:\n{}", self.seen);
            let last_of_a_reply = line.as_bytes().first().is_some_and(u8::is_ascii_digit)
                && line.as_bytes().get(3).is_some_and(|&b| b == b' ');
            if last_of_a_reply {
                assert!(line.starts_with(beginning), "not {beginning}:\n{}", self.seen);
                return line;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// All of it, for people.
    pub fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.out), self.err)
    }
}
