//! This server on a host, set up as its README says.

use std::path::PathBuf;

use super::net::Host;
use super::until;

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("PACKETBOAT_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_packetboat")), PathBuf::from)
}

/// Sets up and starts the server of `domain` with these `users`, whose password is `secret`. `more` is appended to the
/// settings that `packetboat init` wrote.
pub fn start(host: &mut Host, domain: &str, users: &[&str], more: &str) {
    let boat = binary();
    let boat = boat.to_str().unwrap();
    host.run(boat, &["init", "--domain", domain, "--hostname", host.name(), "--data", "data"], "");
    let file = host.dir().join("packetboat.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    // A section stands once: what is said here of one comes in its place.
    let mut text = settings;
    for section in more.split_inclusive('\n').filter(|line| line.starts_with('[')) {
        text = text.replace(&format!("\n{}", section.trim_end()), "\n#");
    }
    std::fs::write(&file, format!("{text}\n{more}\n")).unwrap();
    host.run(boat, &["domain", "add", domain], "");
    for user in users {
        let address = format!("{user}@{domain}");
        host.run(boat, &["account", "add", &address, "--password-stdin"], "secret\n");
    }
    serve(host);
}

/// Starts it, on what is there.
pub fn serve(host: &mut Host) {
    let mut command = host.command(binary());
    host.start("packetboat", command.arg("serve"));
    until("packetboat listens", || host.listens(25).then_some(()));
}

/// The messages in a user's inbox, by POP3, as a mail program at the host would fetch them.
pub fn inbox(host: &Host, address: &str) -> Vec<String> {
    let script = format!(
        "import poplib, sys\np = poplib.POP3('127.0.0.1')\np.stls(__import__('ssl')._create_unverified_context())\n\
         p.user('{address}')\np.pass_('secret')\n\
         for n in range(1, p.stat()[0] + 1):\n    sys.stdout.write(b'\\n'.join(p.retr(n)[1]).decode('latin-1') + '\\n\\0')\np.quit()\n"
    );
    let said = host.run("python3", &["-c", &script], "");
    said.split('\0').filter(|message| !message.trim().is_empty()).map(str::to_owned).collect()
}
