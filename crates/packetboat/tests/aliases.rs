//! Aliases, as people manage them and as letters find them: with the real binary, with a server and without.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Demo, Pop3, Sink, foreign, smtp_dialogue};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packetboat");

/// Whose store the commands manage.
struct Desk {
    data: PathBuf,
}

impl Desk {
    fn of(demo: &Demo) -> Desk {
        Desk { data: demo.dir().join("data") }
    }

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
    fn says(&self, command: &str) -> String {
        let output = self.run(command, "");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {} {errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The objects that a command that succeeds prints with --json.
    fn json(&self, command: &str) -> Vec<Value> {
        let text = self.says(&format!("{command} --json"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Exit code and message of a command that fails.
    fn fails(&self, command: &str) -> (i32, String) {
        let output = self.run(command, "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// An aliases file as a server of many years has it, with a file that it includes.
fn aliases_file(dir: &Path) -> PathBuf {
    let staff = dir.join("staff");
    fs::write(&staff, "# everybody\nanna\nben, carl@elsewhere.test\n").unwrap();
    let file = dir.join("aliases");
    let text = format!(
        "# /etc/aliases\nmailer-daemon: postmaster\npostmaster: root\nroot: anna,\n\tben\n\nstaff: :include:{}\n\
         tickets: \"|/usr/bin/tickets --new\"\nnobody: /dev/null\narchive: /var/archive, anna\nwho: gone\nno colon\n",
        staff.display()
    );
    fs::write(&file, text).unwrap();
    file
}

/// Everything that can be done with aliases, whoever carries it out.
fn manage(desk: &Desk, dir: &Path) {
    desk.says("domain add example.org");
    for login in ["anna", "ben"] {
        desk.says(&format!("account add {login}@example.org --no-password"));
    }
    let row = desk.says("alias add info@example.org anna@example.org");
    assert!(row.starts_with("info@example.org ") && row.ends_with(" -> anna@example.org\n"), "{row}");
    desk.says("alias add info@example.org ben@example.org carl@elsewhere.test");
    desk.says("alias add help@example.org info@example.org");
    let listed = desk.json("alias list --domain example.org");
    assert_eq!(listed[0]["alias"], "help@example.org");
    let all = serde_json::json!(["anna@example.org", "ben@example.org", "carl@elsewhere.test"]);
    assert_eq!(listed[1]["targets"], all);
    assert_eq!(
        desk.says("alias show help+x@example.org"),
        "help@example.org -> info@example.org -> anna@example.org (account anna@example.org, tag x)\n\
         help@example.org -> info@example.org -> ben@example.org (account ben@example.org, tag x)\n\
         help@example.org -> info@example.org -> carl@elsewhere.test (elsewhere)\n"
    );
    let way = desk.json("alias show help@example.org").remove(2);
    assert_eq!(way["through"], serde_json::json!(["help@example.org", "info@example.org"]));
    assert_eq!((&way["account"], &way["problem"]), (&Value::Null, &Value::Null));
    desk.says("alias remove info@example.org ben@example.org");
    assert_eq!(desk.json("alias show info@example.org").len(), 2);

    assert!(desk.says("alias move ben@example.org ben@new.test").contains("mail follows"));
    assert!(desk.says("alias move ben@example.org ben@new.test --refuse").contains("mail is refused"));
    assert!(desk.says("alias show ben@example.org").contains("told to write to ben@new.test"));
    desk.says("alias remove ben@example.org");

    desk.says("domain catch-all example.org anna");
    desk.says("domain generic example.org ben@example.org");
    desk.says("domain separator example.org -");
    desk.says("domain srs example.org off");
    let shown = desk.json("domain alias example.net example.org").remove(0);
    assert_eq!((&shown["domain"], &shown["same_as"]), (&"example.net".into(), &"example.org".into()));
    let shown = desk.json("domain show example.org").remove(0);
    assert_eq!(
        (&shown["catch_all"], &shown["generic"]),
        (&"anna@example.org".into(), &"ben@example.org".into())
    );
    assert_eq!((&shown["separator"], &shown["srs"]), (&"-".into(), &false.into()));
    let shown = desk.says("domain show example.org");
    assert!(shown.contains("other names    anna@example.org\ntags           user-tag\n"), "{shown}");
    assert!(desk.says("alias show webmaster-x@example.net").ends_with("(account ben@example.org, tag x)\n"));
    assert!(desk.says("alias show whoever@example.net").contains("whoever@example.org -> anna@example.org"));
    assert!(desk.says("alias show postmaster@example.net").contains("(account anna@example.org)"));
    assert!(desk.says("domain list").contains("another name of example.org"));
    desk.says("domain alias example.net --none");
    desk.says("domain catch-all example.org --none");
    desk.says("domain separator example.org --default");
    desk.says("alias rotate-key");

    for (code, command, message) in [
        (64, "alias add info@example.org", "required arguments were not provided"),
        (64, "domain catch-all example.org", "required arguments were not provided"),
        (65, "alias add info@example.org help@example.org", "info@example.org would lead back to itself"),
        (65, "alias add x@example.org x@example.org", "would lead back to itself"),
        (65, "alias add x@example.org a@b@@c", "not an address"),
        (65, "domain alias example.org example.org", "another name of itself"),
        (65, "domain separator example.org ++", "cannot separate user and tag"),
        (
            67,
            "alias add x@example.org nobody@example.org",
            "make the account or alias first, or say --missing-ok",
        ),
        (67, "alias show nobody@example.org", "`packetboat alias add` gives it to somebody"),
        (67, "alias remove nobody@example.org", "no alias nobody@example.org here; `packetboat alias list`"),
        (67, "alias remove info@example.org ben@example.org", "does not lead to ben@example.org"),
        (68, "alias add x@elsewhere.test anna@example.org", "`packetboat domain add elsewhere.test`"),
        (68, "domain show elsewhere.test", "no domain elsewhere.test here"),
        (73, "alias add anna@example.org ben@example.org", "name anna@example.org among the targets"),
        (73, "alias move info@example.org ben@new.test", "is an alias already"),
        (73, "account add info@example.org --no-password", "info@example.org is an alias already"),
        (73, "account address add ben@example.org info@example.org", "info@example.org is an alias already"),
        (73, "domain remove example.org", "still has aliases, such as help@example.org"),
    ] {
        let (found, said) = desk.fails(command);
        assert!(found == code && said.contains(message), "{command}: {found} {said}");
    }

    let file = aliases_file(dir);
    let import = format!("alias import {} --domain example.org", file.display());
    let before = desk.json("alias list");
    let dry = desk.run(&format!("{import} --dry-run"), "");
    assert!(
        String::from_utf8_lossy(&dry.stdout)
            .contains("staff@example.org -> anna@example.org, ben@example.org")
    );
    assert_eq!(desk.json("alias list"), before, "nothing was changed");
    for _ in 0..2 {
        let (code, said) = desk.fails(&import);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((code, lines.len()), (65, 6), "{said}");
        for (line, (at, what)) in lines.iter().zip([
            (":8: ", "tickets@example.org: no mail goes into programs here (|/usr/bin/tickets --new); make an account"),
            (":9: ", "nobody@example.org: no mail is thrown away here"),
            (":10: ", "archive@example.org: no mail goes into files here (/var/archive)"),
            (":11: ", "who@example.org is here, and leads to gone@example.org: nobody has this address"),
            (":12: ", "'no colon' has no colon"),
            ("packetboat: ", "5 of the file's entries need a look; the others are taken"),
        ]) {
            assert!(line.contains(at) && line.contains(what), "{line}");
        }
        assert!(
            desk.says("alias show mailer-daemon@example.org").contains("root@example.org -> ben@example.org")
        );
        assert!(desk.says("alias show staff@example.org").contains("carl@elsewhere.test (elsewhere)"));
        assert!(
            desk.says("alias show archive@example.org")
                .ends_with("-> anna@example.org (account anna@example.org)\n")
        );
    }
    let removed = desk.says("account remove ben@example.org --yes");
    assert!(removed.contains("alias leads to nobody now: root@example.org to ben@example.org"), "{removed}");
    for alias in desk.json("alias list") {
        desk.says(&format!("alias remove {}", alias["alias"].as_str().unwrap()));
    }
    desk.says("account remove anna@example.org --yes");
    desk.says("domain remove example.net");
    desk.says("domain remove example.org");
}

#[test]
fn aliases_are_managed_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    manage(&Desk { data: dir.path().join("data") }, dir.path());
}

#[test]
fn aliases_are_managed_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Demo::start();
    manage(&Desk::of(&demo), dir.path());
}

/// Runs the commands of the recipe, and holds their output against it where it shows some.
#[test]
fn the_recipe_is_what_the_commands_say() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk { data: dir.path().join("data") };
    desk.says("domain add example.org");
    for login in ["anna", "ben"] {
        desk.says(&format!("account add {login}@example.org --no-password"));
    }
    let document = include_str!("../../../docs/recipes/aliases.md");
    let blocks = document.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
    let mut run = 0;
    for block in blocks {
        for piece in block.split("# packetboat ").skip(1) {
            let (command, shown) = piece.split_once('\n').unwrap();
            if command.contains("/etc/") {
                continue;
            }
            let said = desk.says(command);
            assert!(shown.is_empty() || said == shown, "{command}:\n{said}instead of\n{shown}");
            run += 1;
        }
    }
    assert!(run > 12, "{run}");
}

/// What swaks has to say of a letter handed in on port 25, and its exit code.
fn swaks(demo: &Demo, arguments: &str) -> (String, Option<i32>) {
    let said = foreign("swaks")
        .args(&format!(
            "--server 127.0.0.1:{} --helo tests.example --from carol@elsewhere.test",
            demo.port("smtp")
        ))
        .args(arguments)
        .attempt();
    (String::from_utf8_lossy(&said.out).into_owned() + &said.err, said.code)
}

/// How many letters somebody has, and the last one.
fn letters(demo: &Demo, login: &str) -> (usize, String) {
    let mut pop3 = Pop3::login(demo.at("pop3"), login);
    let all = pop3.all();
    pop3.quit();
    let last = all.last().map(|letter| String::from_utf8_lossy(letter).into_owned());
    (all.len(), last.unwrap_or_default())
}

#[test]
fn letters_find_their_way_while_aliases_change() {
    let demo = Demo::start();
    let desk = Desk::of(&demo);
    let (alice, bob) = ("alice@demo.test", "bob@demo.test");
    let counts = || (letters(&demo, alice).0, letters(&demo, bob).0);

    let (said, code) = swaks(&demo, "--to team@demo.test");
    assert!(said.contains("<** 550 5.1.1"), "{said}");
    assert_ne!(code, Some(0));
    desk.says("alias add team@demo.test alice@demo.test bob@demo.test");
    let (said, code) = swaks(&demo, "--to team@demo.test,alice+direct@demo.test");
    assert_eq!((code, counts()), (Some(0), (1, 1)), "{said}");
    let (_, letter) = letters(&demo, bob);
    assert!(letter.contains("\r\nDelivered-To: bob@demo.test\r\n"), "{letter}");
    assert!(letter.contains("for <team@demo.test>"), "{letter}");

    swaks(&demo, "--to alice+shop@demo.test");
    assert_eq!(counts(), (2, 1));
    assert!(letters(&demo, alice).1.contains("\r\nDelivered-To: alice+shop@demo.test\r\n"));

    desk.says("domain catch-all demo.test bob@demo.test");
    swaks(&demo, "--to whoever@demo.test");
    assert_eq!(counts(), (2, 2));
    desk.says("domain catch-all demo.test --none");
    assert_ne!(swaks(&demo, "--to whoever@demo.test").1, Some(0));

    for to in ["postmaster", "postmaster@demo.test"] {
        let (said, code) = swaks(&demo, &format!("--to {to}"));
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(counts(), (4, 2));

    desk.says("domain alias other.test demo.test");
    swaks(&demo, "--to team+x@other.test");
    assert_eq!(counts(), (5, 3));

    desk.says("alias move old@demo.test bob@demo.test");
    // Which swaks takes for a failure, as few others do.
    let letter: [&[u8]; 6] = [
        b"EHLO tests.example",
        b"MAIL FROM:<carol@elsewhere.test>",
        b"RCPT TO:<old@demo.test>",
        b"DATA",
        b"Subject: moved\r\n\r\nHello\r\n.",
        b"QUIT",
    ];
    let replies = smtp_dialogue(demo.at("smtp"), &letter);
    assert!(
        replies[3].starts_with("251 2.1.5 User not local; will forward to <bob@demo.test>"),
        "{replies:?}"
    );
    assert!(replies[5].starts_with("250 "), "{replies:?}");
    assert_eq!(counts(), (5, 4));
    desk.says("alias move old@demo.test bob@elsewhere.test --refuse");
    let (said, _) = swaks(&demo, "--to old@demo.test");
    assert!(said.contains("<** 551 5.1.6 User not local; please try <bob@elsewhere.test>"), "{said}");

    // Whoever gets an address's mail may send under it.
    for (login, code) in [("alice", Some(0)), ("bob", Some(0))] {
        let port = demo.port("submission");
        let said = foreign("swaks")
            .args(&format!(
                "--server 127.0.0.1:{port} --auth PLAIN --auth-user {login}@demo.test --auth-password demo"
            ))
            .args("--from team@demo.test --to bob@demo.test")
            .attempt();
        assert_eq!(said.code, code, "{login}: {}", said.err);
    }
    assert_eq!(counts(), (5, 6));

    // A message that has been at the alias by which it would leave.
    desk.says("alias add out@demo.test alice@demo.test dora@elsewhere.test");
    let (said, code) = swaks(&demo, "--to out@demo.test --add-header Delivered-To:out@demo.test");
    assert!(code != Some(0) && said.contains("<** 554 5.4.6"), "{said}");
    assert!(demo.terminate().success());
}

/// To another server and back: the copy has a return path of ours, the bounce finds its way by it, and what comes back to
/// the alias by which it left goes no further.
#[test]
fn what_an_alias_sends_elsewhere_comes_back_where_it_belongs() {
    let sink = Sink::good();
    let port = sink.port();
    let demo = Demo::start_with(&["--route", &format!("*=127.0.0.1:{port}")]);
    let desk = Desk::of(&demo);
    desk.says("alias add out@demo.test dora@far.test alice@demo.test");
    let (said, code) = swaks(&demo, "--to out@demo.test");
    assert_eq!(code, Some(0), "{said}");
    let copy = sink.wait_for(1).remove(0);
    assert_eq!(copy.to, ["<dora@far.test>"]);
    let path = copy.from.trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert!(path.starts_with("SRS0=") && path.ends_with("=elsewhere.test=carol@demo.test"), "{path}");
    assert_eq!(letters(&demo, "alice@demo.test").0, 1);
    let text = String::from_utf8(copy.text).unwrap();
    assert!(text.starts_with("Delivered-To: out@demo.test\r\n"), "{text}");

    let back = |from: &str, to: &str, text: &str| {
        let (from, to) = (format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"));
        let text = format!("{text}.");
        let lines =
            [b"EHLO far.test", from.as_bytes(), to.as_bytes(), b"DATA", text.as_bytes(), b"QUIT".as_slice()];
        smtp_dialogue(demo.at("smtp"), &lines)
    };
    let replies = back("", &path.to_lowercase(), "Subject: bounce\r\n\r\n");
    assert!(replies[5].starts_with("250 "), "{replies:?}");
    let bounce = sink.wait_for(2).remove(1);
    assert_eq!(
        (bounce.from.split(' ').next(), &bounce.to[..]),
        (Some("<>"), &["<carol@elsewhere.test>".to_owned()][..])
    );
    let replies = back("", &path.replace("carol", "victim"), "Subject: forged\r\n\r\n");
    assert!(replies[3].starts_with("550 5.1.1 "), "{replies:?}");
    let replies = back(&path, "out@demo.test", &text);
    assert!(replies[5].starts_with("554 5.4.6 "), "{replies:?}");
    assert_eq!(sink.taken().len(), 2);
}
