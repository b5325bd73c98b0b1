#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(text, Path::new("/etc/p.toml")).map_err(|error| error.to_string())
}

#[test]
fn five_lines_are_enough() {
    let settings = parse(
        r#"hostname = "mail.example.org"
data = "data"
[[certificate]]
chain = "tls/chain.pem"
key = "/keys/key.pem"
"#,
    )
    .unwrap();
    assert_eq!(settings.general.hostname, "mail.example.org");
    assert_eq!(settings.general.data, PathBuf::from("/etc/data"));
    assert_eq!(settings.certificates[0].chain, PathBuf::from("/etc/tls/chain.pem"));
    assert_eq!(settings.certificates[0].key, PathBuf::from("/keys/key.pem"));
    assert_eq!(settings.admin_socket(), PathBuf::from("/etc/data/admin.sock"));
    assert_eq!(settings.listen.smtp, [ListenAddress::Port(25)]);
    assert_eq!(settings.limits.message_size, Size(50 << 20));
}

#[test]
fn every_kind_of_value() {
    let settings = parse(
        r#"
hostname = "a.test"
user = "mail"
[listen]
smtp = [2525, "127.0.0.1:2526", "[::1]:2527"]
lmtp = "/run/lmtp.sock"
pop3 = []
[limits]
message_size = "1 GiB"
connections = 1_000
trusted_networks = ["10.0.0.0/8", "::1"]
write_timeout = "1h 30m"
[smtp]
strictness = "strict"
greeting_delay = "250ms"
[pop3]
expire = "30d"
apop = true
[auth]
mechanisms = ["plain", "SCRAM-SHA-256"]
[log]
format = "json"
level = "warn,packetboat_server=trace"
"#,
    )
    .unwrap();
    assert_eq!(settings.general.user.as_deref(), Some("mail"));
    assert_eq!(
        settings.listen.smtp,
        [
            ListenAddress::Port(2525),
            ListenAddress::Tcp("127.0.0.1:2526".parse().unwrap()),
            ListenAddress::Tcp("[::1]:2527".parse().unwrap()),
        ]
    );
    assert_eq!(settings.listen.lmtp, [ListenAddress::Unix("/run/lmtp.sock".into())]);
    assert!(settings.listen.pop3.is_empty());
    assert_eq!(settings.limits.message_size, Size(1 << 30));
    assert_eq!(settings.limits.connections, 1000);
    assert_eq!(settings.limits.trusted_networks.len(), 2);
    assert_eq!(settings.limits.write_timeout, Duration::from_secs(5400));
    assert_eq!(settings.smtp.strictness, Strictness::Strict);
    assert_eq!(settings.smtp.greeting_delay, Duration::from_millis(250));
    assert_eq!(settings.pop3.expire, Expire::Days(30));
    assert!(settings.pop3.apop);
    assert_eq!(settings.auth.mechanisms.len(), 2);
    assert_eq!(settings.log.format, LogFormat::Json);
}

/// One mistake each: the text after a valid host name, and the whole report.
const MISTAKES: &[(&str, &str)] = &[
    ("[limits]\nconections = 5", "3:1: limits.conections: unknown key; did you mean `connections`?"),
    (
        "[limits]\nmax_message_size = 5",
        "3:1: limits.max_message_size: unknown key; did you mean `message_size`?",
    ),
    ("[pop3]\nmessage_size = 5", "3:1: pop3.message_size: this key belongs to [limits]"),
    ("[smtp]\ndata = \"x\"", "3:1: smtp.data: this key stands before the first [section]"),
    ("[tls]\nchain = \"x\"", "3:1: tls.chain: this key belongs to [[certificate]]"),
    ("[lissten]\nsmtp = 25", "2:2: lissten: unknown section; did you mean `listen`?"),
    ("[[lissten]]\nsmtp = 25", "2:1: lissten: unknown section; did you mean `listen`?"),
    ("limits = 5", "2:10: limits: this is a section; write [limits] on a line of its own"),
    ("zzz = 5", "2:1: zzz: unknown key; there are hostname, data, user, stop_grace"),
    (
        "[limits]\nmessage_size = \"50 pounds\"",
        "3:16: limits.message_size: \"50 pounds\" is not a size such as \"50 MiB\" (B, KB, KiB, MB, MiB, GB, GiB)",
    ),
    (
        "[limits]\nmessage_size = 5",
        "3:16: limits.message_size: \"5 B\" is out of range; use \"64 KiB\" to \"4 GiB\"",
    ),
    (
        "[limits]\nmessage_size = \"99999999999 GiB\"",
        "3:16: limits.message_size: \"99999999999 GiB\" is not a size such as \"50 MiB\" (B, KB, KiB, MB, MiB, GB, GiB)",
    ),
    (
        "[limits]\nconnections = -5",
        "3:15: limits.connections: -5 is not a whole number, not negative, such as 100",
    ),
    (
        "[listen]\npop3 = [110, \"127.0.0.1:99999\"]",
        "3:14: listen.pop3: \"127.0.0.1:99999\" is not a port, an address and port such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\", or the path of a local socket such as \"/run/packetboat/lmtp.sock\"",
    ),
    ("[limits]\nrecipients = 10", "3:14: limits.recipients: 10 is out of range; use 100 to 100000"),
    (
        "[limits]\nwrite_timeout = 30",
        "3:17: limits.write_timeout: 30 is not a time such as \"30s\", \"5m\", \"1h 30m\" or \"7d\"",
    ),
    (
        "[accounts]\nsubaddress_separator = \"++\"",
        "3:24: accounts.subaddress_separator: \"++\" is not one of the characters + - = _ . # in quotes, or \"\"",
    ),
    (
        "[accounts]\ndefault_domain = \"[127.0.0.1]\"",
        "3:18: accounts.default_domain: \"[127.0.0.1]\" is not a domain name such as \"example.org\"",
    ),
    ("[smtp]\nstrictness = \"very\"", "3:14: smtp.strictness: \"very\" is not \"lenient\" or \"strict\""),
    ("[pop3]\napop = \"yes\"", "3:8: pop3.apop: \"yes\" is not true or false"),
    (
        "[limits]\nconnections = 20\nconnections_per_address = 30",
        "4:27: limits.connections_per_address: more than limits.connections, which is 20, has no effect; lower one or raise the other",
    ),
    ("[listen]\nsmtp = [25, 25]", "3:8: listen.smtp: 25 is named twice; once is enough"),
    (
        "[listen]\npop3 = \"127.0.0.1:25\"",
        "3:8: listen.pop3: 127.0.0.1:25 is also in listen.smtp; give each service its own port",
    ),
    (
        "[log]\nlevel = \"loud=very\"",
        "3:9: log.level: \"loud=very\" is not a level; use \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or a list such as \"info,packetboat_smtp=debug\"",
    ),
    ("[[certificate]]\nchain = \"x\"", "3:1: certificate: `key` is missing; name the PEM file"),
    (
        "certificate = \"x\"",
        "2:15: certificate: this is a section; write [[certificate]] on a line of its own",
    ),
    (
        "[[route]]\nvia = \"mx\"",
        "3:1: route: it is for nobody; name `domains`, `senders` or both, as in domains = \"example.org\"",
    ),
    (
        "[[route]]\ndomains = \"*\"\nvia = \"smarthost:x\"\n[[route]]\ndomains = \"a.test\"\nvia = \"none\"",
        "4:7: route.via: no [[smarthost]] is called \"x\"; write a [[smarthost]] with name = \"x\"",
    ),
    (
        "[[smarthost]]\nname = \"a\"\nhost = \"a.test\"\nuser = \"me\"",
        "5:8: smarthost.user: there is no password for it; name the `password_file`",
    ),
    (
        "[[smarthost]]\nname = \"a\"\nhost = \"a.test\"\nuser = \"me\"\npassword_file = \"p\"\ntls = \"none\"",
        "7:7: smarthost.tls: the password would travel in the clear; use \"starttls\" or \"implicit\", or set plaintext_login = true",
    ),
    (
        "[[smarthost]]\nname = \"a\"",
        "3:1: smarthost.host: missing, or with blanks in it; write host = \"smtp.provider.example\"",
    ),
    (
        "[[smarthost]]\nname = \"a\"\nhost = \"a.test\"\n[[smarthost]]\nname = \"a\"\nhost = \"b.test\"",
        "6:8: smarthost.name: there are two called \"a\"; give each a name of its own",
    ),
    (
        "[queue]\nretry = []",
        "3:9: queue.retry: name one time at least, and none of \"0s\", as in retry = [\"1m\", \"15m\", \"1h\"]",
    ),
    ("[relay]\nport = 0", "3:8: relay.port: 0 is not a port, 1 to 65535"),
    (
        "[files]\nconnections = \"many\"",
        "3:15: files.connections: \"many\" is not a whole number, not negative, such as 100",
    ),
    (
        "[files]\ndisabled = [\"DELE\", \"SITE FLY\"]",
        "3:21: files.disabled: \"SITE FLY\" is not a command of FTP such as \"DELE\" or \"SITE CHMOD\"",
    ),
    (
        "[[files_for]]\nquota = \"1 GiB\"",
        "3:1: files_for.users: it is for nobody; name `users`, as in users = \"*@example.org\"",
    ),
    (
        "[[files_for]]\nusers = \"anonymous\"",
        "3:9: files_for.users: what is for anonymous users stands in [anonymous]",
    ),
    (
        "[[files_for]]\nusers = \"*\"\nhome = \"/srv/all\"",
        "4:8: files_for.home: all of them would share it; put {account} in it, or write a [[folder]]",
    ),
    (
        "[[files_for]]\nusers = \"alice\"",
        "3:9: files_for.users: \"alice\" is not a list of users such as [\"alice@example.org\", \"*@example.net\", \"anonymous\"]",
    ),
    (
        "[[folder]]\nname = \"press\"\nusers = \"*\"",
        "3:1: folder.path: missing; name a directory, as in path = \"/srv/press\"",
    ),
    (
        "[[folder]]\nname = \"a/b\"\nusers = \"*\"\npath = \"/x\"",
        "3:8: folder.name: missing, or with a slash in it; write name = \"press\"",
    ),
    (
        "[[folder]]\nname = \"a\"\nusers = \"*\"\npath = \"/srv/../etc\"",
        "5:8: folder.path: \"/srv/../etc\" is not a path without \"..\", in which {account}, {user} and {domain} may stand and no other braces",
    ),
    (
        "[[folder]]\nname = \"a\"\nusers = \"*\"\npath = \"/x\"\n[[folder]]\nname = \"a\"\nusers = \"*\"\npath = \"/y\"",
        "7:8: folder.name: there are two called \"a\"; give each a name of its own",
    ),
    (
        "[[folder]]\nname = \"a\"\nusers = \"*\"\npath = \"/x\"\nquota = \"1 GB\"\n[[folder]]\nname = \"b\"\nusers = \"*\"\npath = \"/x\"",
        "8:8: folder.quota: \"a\" is the same directory; write the same quota for both",
    ),
    (
        "[[rights]]\npath = \"/in\"\nusers = \"*\"\nrights = \"list fly\"",
        "5:10: rights.rights: \"list fly\" is not words of \"list read create write append delete rename make\", or one of \"all\", \"read-only\", \"drop-box\" and \"none\"",
    ),
    ("[[rights]]\nusers = \"*\"", "3:1: rights.path: missing; say where, as in path = \"/incoming\""),
    (
        "[[rights]]\npath = \"in\"\nusers = \"*\"",
        "3:8: rights.path: \"in\" is not a path as users see it, such as \"/press\"",
    ),
    (
        "[anonymous]\nenabled = false\n[[rights]]\npath = \"/in\"\nusers = \"anonymous\"",
        "3:11: anonymous.enabled: something is for anonymous users, and they are not let in; write [anonymous] with enabled = true",
    ),
    (
        "[anonymous]\nincoming = \"/\"",
        "3:12: anonymous.incoming: then nothing could be got; name a directory in the tree, as in \"/incoming\"",
    ),
    (
        "stop_grace = \"5 years\"",
        "2:14: stop_grace: \"5 years\" is not a time such as \"30s\", \"5m\", \"1h 30m\" or \"7d\"",
    ),
];

#[test]
fn mistakes_are_named_with_place_and_remedy() {
    for (text, expected) in MISTAKES {
        let error = parse(&format!("hostname = \"a.test\"\n{text}\n")).unwrap_err();
        assert_eq!(error, format!("/etc/p.toml:{expected}"), "{text}");
    }
    for name in ["", "a b", "-a.test", "a..test", "ä.test"] {
        let error = parse(&format!("hostname = {name:?}")).unwrap_err();
        assert!(error.contains(":1:12: hostname: "), "{error}");
    }
    assert!(parse("").unwrap_err().contains("hostname: missing; write"));
}

#[test]
fn all_mistakes_are_named_at_once_in_order() {
    let error =
        parse("[smtp]\nerrors = 0\n[limits]\nconnections = true\nx = 1\n[pop3]\ntimeout = 10\n").unwrap_err();
    let places: Vec<&str> = error.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        places,
        ["/etc/p.toml:2:10", "/etc/p.toml:4:15", "/etc/p.toml:5:1", "/etc/p.toml:7:11"],
        "{error}"
    );

    // Where the file is no TOML any more, the report ends.
    let error = parse("hostname = 5\nstop_grace = = \"5s\"\nzzz = 5").unwrap_err();
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(error.contains("/etc/p.toml:2:14: not TOML: "), "{error}");
}

#[test]
fn an_unreadable_file_says_what_to_do() {
    let error = Settings::load(Path::new("/nowhere/p.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/p.toml: ") && error.contains("packetboat init"), "{error}");
}

#[test]
fn the_example_parses_whether_commented_out_or_not() {
    let text = example(&[("hostname", "\"mail.example.org\""), ("limits.connections", "77")]);
    let settings = parse(&text).unwrap();
    assert_eq!(settings.limits.connections, 77);

    // Every default, written out, is read back as itself.
    let mut written = String::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let key = bare.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        written.push_str(if key || bare.starts_with("[[") { bare } else { "" });
        written.push('\n');
        if line.starts_with('[') {
            written.push_str(line);
            written.push('\n');
        }
    }
    let again = parse(&written).unwrap();
    assert_eq!(again.limits.message_size, settings.limits.message_size);
    assert_eq!(again.general.user.as_deref(), Some("packetboat"));
    assert_eq!((again.certificates.len(), again.routes.len(), again.smarthosts.len()), (1, 1, 1));
    assert_eq!(again.queue.retry, settings.queue.retry);
    assert_eq!(format!("{:?}", again.auth), format!("{:?}", settings.auth));
    assert_eq!(format!("{:?}", again.listen), format!("{:?}", settings.listen));
}

#[test]
fn rules_about_files_come_to_what_they_say() {
    use packetboat_files::policy::{Arrival, Visitor};
    let text = r#"
hostname = "a.test"
data = "/data"
[ftp]
homes = "homes"
[files]
quota = "1 GiB"
connections = 4
[[files_for]]
users = "*@b.test"
quota = "2 GiB"
home = "own/{user}"
commands = ["retr", "XCWD"]
account_required = "login"
cost_centres = "4711"
[[folder]]
name = "press"
path = "/srv/press"
at = "/press"
users = ["*", "anonymous"]
rights = "list read create"
[anonymous]
enabled = true
path = "public"
incoming = "/in"
upload_rate = "1 MiB"
"#;
    let policy = parse(text).unwrap().files_policy();
    let entrance = |visitor| {
        let arrival = Arrival { from: Some("192.0.2.1".parse().unwrap()), tls: false };
        policy.entrance(visitor, arrival).unwrap()
    };
    let told = |visitor| {
        let entrance = entrance(visitor);
        let trees: Vec<String> = entrance
            .trees
            .iter()
            .map(|tree| format!("{}={}", tree.at, tree.location.path().display()))
            .collect();
        (trees.join(" "), entrance.quota.octets, entrance.connections, entrance.rates.up)
    };
    for (visitor, trees, quota, connections, up) in [
        (
            Visitor::Account("x@c.test"),
            "/=/data/homes/x@c.test /press=/srv/press",
            Some(1 << 30),
            Some(4),
            None,
        ),
        (Visitor::Account("x@b.test"), "/=/data/own/x /press=/srv/press", Some(2 << 30), Some(4), None),
        (Visitor::Anonymous, "/=/data/public /press=/srv/press", None, Some(100), Some(1 << 20)),
    ] {
        assert_eq!(told(visitor), (trees.to_owned(), quota, connections, up), "{visitor:?}");
    }
    let office = entrance(Visitor::Account("x@b.test"));
    assert_eq!(office.only, ["RETR", "CWD"]);
    assert!(office.knows_cost_centre("4711") && !office.knows_cost_centre("x"));
    // Without a word in the file nothing is limited, nobody comes without an account, and each has a home.
    let plain = parse("hostname = \"a.test\"\ndata = \"/data\"").unwrap().files_policy();
    let arrival = Arrival { from: None, tls: false };
    assert!(plain.entrance(Visitor::Anonymous, arrival).is_err());
    let alice = plain.entrance(Visitor::Account("alice@a.test"), arrival).unwrap();
    assert_eq!(alice.trees[0].location.path(), PathBuf::from("/data/files/alice@a.test"));
    assert_eq!((alice.trees.len(), alice.quota, alice.connections), (1, Default::default(), None));
}

/// The documents are made from the definitions. `PACKETBOAT_BLESS=1` writes them.
#[test]
fn documents_are_up_to_date() {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let made = [
        ("packetboat.toml.example", example(&[("hostname", "\"mail.example.org\"")])),
        ("settings.md", reference()),
    ];
    for (name, text) in made {
        let file = docs.join(name);
        if std::env::var_os("PACKETBOAT_BLESS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == text,
            "docs/{name} is out of date: PACKETBOAT_BLESS=1 cargo test -p packetboat-server"
        );
    }
}
