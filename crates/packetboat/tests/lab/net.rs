//! Hosts with networks of their own, on this machine: Linux network and mount namespaces, joined by bridges.
//!
//! Each namespace belongs to a process that waits for the end of its input, so all of it goes away with the test, however
//! that ends. Nothing of it is seen in the machine's own network or file system.

use std::cell::Cell;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// A network in which hosts are neighbours.
#[derive(Debug)]
pub struct Network {
    holder: Holder,
    hosts: Cell<u32>,
}

/// A host: its own network interfaces, its own `/etc/resolv.conf`, its own mounts.
#[derive(Debug)]
pub struct Host {
    holder: Holder,
    name: String,
    interfaces: Cell<u32>,
    /// What it runs, ended before the namespaces are.
    running: Vec<Child>,
    dir: PathBuf,
}

/// The process to which namespaces belong.
#[derive(Debug)]
struct Holder {
    child: Child,
    /// It ends when this is closed.
    _input: ChildStdin,
}

impl Holder {
    fn start(setup: &str) -> Holder {
        let script = format!("set -e\n{setup}\nip link set lo up\necho ready\nexec cat >/dev/null");
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux, is needed");
        let mut ready = [0; 6];
        let mut output = child.stdout.take().unwrap();
        let said = std::io::Read::read_exact(&mut output, &mut ready);
        assert!(said.is_ok(), "namespaces cannot be made here: this test needs root and CAP_SYS_ADMIN");
        let input = child.stdin.take().unwrap();
        Holder { child, _input: input }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn enter(&self, program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--wdns={}", dir.display()));
        command.args(["--net", "--mount", "--target", &self.pid(), "--"]).arg(program);
        command
    }

    fn ip(&self, arguments: &[&str]) {
        succeed(self.enter("ip", Path::new("/")).args(arguments));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Network {
    pub fn new() -> Network {
        let holder = Holder::start("ip link add bridge type bridge\nip link set bridge up");
        Network { holder, hosts: Cell::new(0) }
    }

    /// Plugs a host in, under an address such as `192.0.2.1/24`.
    pub fn join(&self, host: &Host, address: &str) {
        let port = self.hosts.replace(self.hosts.get() + 1);
        let number = host.interfaces.replace(host.interfaces.get() + 1);
        let (port, interface) = (format!("port{port}"), format!("eth{number}"));
        let link =
            ["link", "add", &port, "type", "veth", "peer", "name", &interface, "netns", &host.holder.pid()];
        self.holder.ip(&link);
        self.holder.ip(&["link", "set", &port, "master", "bridge", "up"]);
        host.holder.ip(&["address", "add", address, "dev", &interface]);
        host.holder.ip(&["link", "set", &interface, "up"]);
    }
}

impl Host {
    /// A host that asks `resolver` for names and keeps its things in `dir`.
    pub fn new(name: &str, dir: &Path, resolver: IpAddr) -> Host {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let resolv = dir.join("resolv.conf");
        std::fs::write(&resolv, format!("nameserver {resolver}\noptions timeout:2 attempts:2\n")).unwrap();
        let setup = format!(
            "hostname_file={0}/hostname\necho {name} >$hostname_file\nmount --bind {1} /etc/resolv.conf",
            dir.display(),
            resolv.display()
        );
        Host {
            holder: Holder::start(&setup),
            name: name.to_owned(),
            interfaces: Cell::new(0),
            running: vec![],
            dir,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A program that will run on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.holder.enter(program, &self.dir)
    }

    /// Runs a shell script on this host; it must succeed.
    pub fn shell(&self, script: &str) -> String {
        String::from_utf8_lossy(&succeed(self.command("sh").args(["-ec", script])).stdout).into_owned()
    }

    /// Runs a program with some input; it must succeed.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(program);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "on {}: {command:?}: {}\n{said}", self.name, output.status);
        said
    }

    /// Starts what runs on until the host goes; what it says goes into `NAME.log`.
    pub fn start(&mut self, name: &str, command: &mut Command) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file(name)).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.running.push(child);
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// Whether something accepts connections at this port of the host.
    pub fn listens(&self, port: u16) -> bool {
        self.listens_at("127.0.0.1", port)
    }

    /// The same at one of its addresses.
    pub fn listens_at(&self, address: &str, port: u16) -> bool {
        let mut command = self.command("nc");
        command.args(["-z", address, &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Host {
    fn show_logs(&self, dir: &Path) {
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in files.filter(|path| path.extension().is_some_and(|e| e == "log")) {
            let log = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("--- {}: {} ends:\n{end}", self.name, path.display());
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for dir in ["", "state/log", "state/exim/log"] {
                self.show_logs(&self.dir.join(dir));
            }
        }
        // Whatever else is inside, daemons among them, before the mounts they use go.
        let ours = std::fs::read_link(format!("/proc/{}/ns/net", self.holder.pid()));
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let of = std::fs::read_link(entry.path().join("ns/net"));
            if let (Ok(ours), Ok(of)) = (&ours, of)
                && *ours == of
                && let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
                && pid != self.holder.child.id()
            {
                let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
            }
        }
        for child in &mut self.running {
            let _ = child.wait();
        }
    }
}

pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
