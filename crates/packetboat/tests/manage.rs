//! The commands that manage accounts, run as people and scripts run them: with a server and without.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::Demo;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packetboat");

/// Whose store the commands manage.
struct Desk {
    data: PathBuf,
}

impl Desk {
    fn run(&self, command: &str, input: &str) -> Output {
        let mut child = Command::new(PROGRAM)
            .args(command.split(' '))
            .arg("--data")
            .arg(&self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What a command that succeeds prints.
    fn says(&self, command: &str, input: &str) -> String {
        let output = self.run(command, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {} {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The objects that a command that succeeds prints with --json.
    fn json(&self, command: &str) -> Vec<Value> {
        let text = self.says(&format!("{command} --json"), "");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Exit code and message of a command that fails.
    fn fails(&self, command: &str, input: &str) -> (i32, String) {
        let output = self.run(command, input);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// Everything that can be done with accounts, whoever carries it out.
fn manage(desk: &Desk) {
    assert_eq!(desk.says("domain add Example.ORG", ""), "domain example.org added\n");
    let add = "account add alice@example.org --password-stdin --alias a@example.org --quota 5GiB";
    assert_eq!(desk.says(add, "correct horse\r\n"), "account alice@example.org added\n");
    desk.says("account add bob@example.org --no-password", "");
    let hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    desk.says("account passwd bob@example.org --hash-stdin", hash);

    let list = desk.json("account list --domain example.org");
    let logins: Vec<&str> = list.iter().map(|it| it["login"].as_str().unwrap()).collect();
    assert_eq!(logins, ["alice@example.org", "bob@example.org"]);
    assert_eq!(list[0]["octets"]["limit"], 5_u64 << 30);
    assert_eq!(list[0]["addresses"], serde_json::json!(["alice@example.org", "a@example.org"]));
    let shown = desk.says("account show alice@example.org", "");
    assert!(shown.contains("keeps          0 B of 5.0 GiB, 0 messages"), "{shown}");

    desk.says("account quota alice@example.org --messages 10", "");
    let quota = desk.json("account quota alice@example.org --size none").remove(0);
    assert_eq!((&quota["octets"]["limit"], &quota["messages"]["limit"]), (&Value::Null, &10.into()));
    desk.says("account address add bob@example.org robert@example.org", "");
    desk.says("account address remove alice@example.org a@example.org", "");
    desk.says("account disable bob@example.org", "");
    assert!(desk.says("account list", "").lines().any(|row| row.ends_with(" disabled")));
    desk.says("account enable bob@example.org", "");

    let phone = desk.json("account app-password add alice@example.org phone --for imap,pop3").remove(0);
    assert_eq!(phone["password"].as_str().unwrap().len(), 23);
    let listed = desk.json("account app-password list alice@example.org").remove(0);
    assert_eq!(
        (&listed["name"], &listed["services"]),
        (&"phone".into(), &serde_json::json!(["pop3", "imap"]))
    );
    desk.says("account app-password revoke alice@example.org phone", "");
    assert_eq!(desk.says("account apop-secret alice@example.org", "").trim_end().len(), 23);
    desk.says("account apop-secret alice@example.org --password-stdin", "tanstaaf\n");
    desk.says("account apop-secret alice@example.org --remove", "");
    desk.says("domain postmaster example.org bob@example.org", "");
    let domain = desk.json("domain list").into_iter().find(|it| it["domain"] == "example.org").unwrap();
    assert_eq!(domain["postmaster"], "bob@example.org");

    for (code, command, input, message) in [
        (64, "account show", "", "required arguments were not provided"),
        (64, "account remove alice@example.org", "", "say --yes"),
        (
            64,
            "account app-password add alice@example.org x --for telnet",
            "",
            "no service is called 'telnet'",
        ),
        (65, "account add alice@exa_mple..org --no-password", "", "not an address"),
        (65, "account passwd alice@example.org --password-stdin", "\n", "the password is empty"),
        (65, "account passwd alice@example.org --hash-stdin", "secret", "no password hash"),
        (
            67,
            "account show carol@example.org",
            "",
            "no account carol@example.org here; `packetboat account list`",
        ),
        (67, "account passwd carol@example.org --password-stdin", "x", "no account carol@example.org"),
        (67, "account app-password revoke alice@example.org tablet", "", "no app password called 'tablet'"),
        (
            68,
            "account add alice@example.net --no-password",
            "",
            "add it with `packetboat domain add example.net`",
        ),
        (68, "domain remove example.net", "", "no domain example.net here"),
        (73, "account add robert@example.org --no-password", "", "belongs to bob@example.org already"),
        (73, "domain remove example.org", "", "still has addresses"),
    ] {
        let (found, said) = desk.fails(command, input);
        assert!(found == code && said.contains(message), "{command}: {found} {said}");
    }
    let failure = desk.run("account show carol@example.org --json", "");
    let failure: Value = serde_json::from_slice(&failure.stdout).unwrap();
    assert_eq!(failure["error"]["kind"], "no-user");

    desk.says("account remove alice@example.org --yes", "");
    desk.says("account remove bob@example.org -y", "");
    desk.says("domain remove example.org", "");
}

#[test]
fn accounts_are_managed_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk { data: dir.path().join("data") };
    manage(&desk);
    let checked = desk.says("check", "");
    assert!(checked.contains("\nDNS: no hostname in the settings; skipped\nstore: "), "{checked}");
    let checked = desk.json("check --no-dns").remove(0);
    assert!(checked["dns"].is_null() && checked["store"].is_object(), "{checked}");
    for command in ["who", "stats", "reload", "stop"] {
        let (code, said) = desk.fails(command, "");
        assert!(code == 69 && said.contains("start it with `packetboat serve`"), "{command}: {code} {said}");
    }
    let (code, said) = desk.fails("account list --config /nonexistent", "");
    assert_eq!((code, said.as_str()), (0, ""), "--data goes first");
    let missing =
        Command::new(PROGRAM).args(["account", "list", "--config", "/nonexistent"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(78));
}

/// A POP3 session that has said who and by what password, and the answer.
fn log_in(demo: &Demo, login: &str, password: &str) -> (BufReader<TcpStream>, String) {
    let stream = TcpStream::connect(demo.at("pop3")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut stream = BufReader::new(stream);
    write!(stream.get_mut(), "USER {login}\r\nPASS {password}\r\n").unwrap();
    let replies = [(); 3].map(|()| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line
    });
    let [_greeting, _user, answer] = replies;
    (stream, answer)
}

fn lets_in(demo: &Demo, login: &str, password: &str) -> bool {
    log_in(demo, login, password).1.starts_with("+OK")
}

#[test]
fn accounts_are_managed_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start_on(&dir.path().join("demo"), &[]);
    let desk = Desk { data: demo.dir().join("data") };
    manage(&desk);

    // What commands change holds for the next log-in.
    desk.says("account add carol@demo.test --password-stdin", "first");
    assert!(lets_in(&demo, "carol@demo.test", "first"));
    desk.says("account passwd carol@demo.test --password-stdin", "second");
    assert!(!lets_in(&demo, "carol@demo.test", "first"));
    assert!(lets_in(&demo, "carol@demo.test", "second"));
    desk.says("account disable carol", "");
    assert!(!lets_in(&demo, "carol@demo.test", "second"));
    desk.says("account enable carol", "");
    let app = |services: &str| {
        let command = format!("account app-password add carol {services} --for {services}");
        desk.json(&command).remove(0)["password"].as_str().unwrap().to_owned()
    };
    assert!(lets_in(&demo, "carol@demo.test", &app("pop3")));
    assert!(!lets_in(&demo, "carol@demo.test", &app("submission")));

    let (carol, answer) = log_in(&demo, "carol@demo.test", "second");
    assert!(answer.starts_with("+OK"));
    let who = desk.json("who");
    let her = who.iter().find(|it| it["login"] == "carol@demo.test").unwrap();
    assert_eq!((&her["service"], &her["peer"]), (&"pop3".into(), &"127.0.0.1".into()));
    drop(carol);
    assert!(desk.says("stats", "").contains("packetboat_logins_total{service=\"pop3\",outcome=\"ok\"}"));
    desk.says("reload", "");

    desk.says("account remove carol --yes", "");
    assert!(!lets_in(&demo, "carol@demo.test", "second"));
    desk.says("stop", "");
    assert!(demo.ended().success());
    // And the store is free for the command itself.
    assert_eq!(desk.json("account list").len(), 2);
}
