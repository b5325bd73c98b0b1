//! Running a program of this machine: no shell, a clean environment, a time limit.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Event, Failure};

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the program, and what it has started, when it is dropped before it has ended.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let (Ok(None), Some(id)) = (self.0.try_wait(), id) {
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

pub(super) async fn run(
    argv: &[String],
    directory: &Path,
    event: &Event,
    limit: Duration,
) -> Result<(), Failure> {
    let (argv, directory, event) = (argv.to_vec(), directory.to_owned(), event.clone());
    let ended = tokio::task::spawn_blocking(move || wait(&argv, directory, &event, limit)).await;
    let ended = ended.unwrap_or_else(|_| Err("a defect".to_owned()));
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Later(format!("the command ended with {status}"))),
        Err(error) => Err(Failure::Later(error)),
    }
}

fn wait(argv: &[String], directory: PathBuf, event: &Event, limit: Duration) -> Result<ExitStatus, String> {
    let (program, arguments) = argv.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env_clear().process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    let said = &event.said;
    let octets = event.octets.map(|octets| octets.to_string());
    let time = event.time.to_string();
    for (name, value) in [
        ("ID", Some(&event.id[..])),
        ("EVENT", Some(event.event.word())),
        ("TIME", Some(&time)),
        ("SERVER", Some(&event.server)),
        ("ACCOUNT", Some(&said.account)),
        ("ANONYMOUS", said.anonymous.as_deref()),
        ("COST_CENTRE", said.cost_centre.as_deref()),
        ("ADDRESS", Some(&said.address)),
        ("TLS", Some(if said.tls { "yes" } else { "no" })),
        ("PATH", Some(&event.path)),
        ("TO", event.to.as_deref()),
        ("OCTETS", octets.as_deref()),
        ("FILE", event.file.as_deref()),
    ] {
        // What the system cannot pass on.
        if let Some(value) = value.filter(|value| !value.contains('\0')) {
            command.env(format!("PACKETBOAT_{name}"), value);
        }
    }
    let mut group = Group(command.spawn().map_err(|error| format!("{program}: {error}"))?);
    let end = Instant::now() + limit;
    loop {
        match group.0.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() >= end => {
                return Err(format!("the command took longer than {} s, and was ended", limit.as_secs()));
            }
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return Err(error.to_string()),
        }
    }
}
