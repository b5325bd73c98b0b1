//! Every key there is: name, kind, default, and what it is for. The example file and the manual are made from this.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use packetboat_imap::server::Extension;
use packetboat_message::{Address, Domain};
use packetboat_wire::sasl::Mechanism;
use toml::Spanned;
use toml::de::DeValue;

use super::links::{ActiveSource, AnnounceTo, Announced, ClientName, DataTlsBinding, HostPort};
use super::outbound::{DomainPattern, Family, OutgoingTls, SenderPattern, SmarthostTls, Via};
use super::problem::Report;
use super::section::{Key, Section, path, read_value, section, within};
use super::value::{
    Audience, ClientFamily, DnssecMode, Expire, ListenAddress, LogFormat, Separator, Size, Strictness,
    TlsVersion, Value,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

const fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

const fn mib(mib: u64) -> Size {
    Size(mib << 20)
}

/// The longest time a timeout may be set to.
const LONG: Duration = seconds(24 * 60 * 60);

section! {
    /// What the server is.
    General [""] {
        /// The name of this server in DNS, as it greets other servers. It should have an A or AAAA record, and the
        /// address should point back to it (PTR).
        hostname: String = String::new();
        /// Where everything is kept. A relative path counts from the directory of this file.
        data: PathBuf = PathBuf::from("/var/lib/packetboat");
        /// The user to become when the ports are bound, if the server is started as root.
        user: Option<String> = None;
        /// How long connections may finish their work when the server is stopped.
        stop_grace: Duration = seconds(10), in seconds(0)..=seconds(600);
    }
}

section! {
    /// A certificate, its chain and its key, in PEM files. The section may stand several times: a client gets the
    /// certificate for the name it asks for, and the first one otherwise. Changed files are noticed within seconds.
    /// Without any, the server makes a certificate that no client trusts.
    Certificate ["[certificate]"] {
        /// The certificate, followed by those that lead to its root.
        chain: PathBuf = PathBuf::new();
        /// The private key, not encrypted. May be the same file as `chain`.
        key: PathBuf = PathBuf::new();
    }
}

section! {
    /// TLS, wherever it is spoken.
    Tls ["tls"] {
        /// The oldest version clients may use: "1.2" or "1.3".
        minimum: TlsVersion = TlsVersion::Tls12;
    }
}

section! {
    /// Where each service listens: ports (25 is every IPv4 and IPv6 address of the machine), addresses with ports
    /// ("192.0.2.1:25", "[2001:db8::1]:25"), or local sockets ("/run/packetboat/lmtp.sock"). An empty list turns a
    /// service off. Sockets that systemd passes under the name of a service come in place of its list.
    Listen ["listen"] {
        /// Mail from other servers, in the clear and by STARTTLS.
        smtp: Vec<ListenAddress> = vec![ListenAddress::Port(25)];
        /// Mail from people's programs, by STARTTLS.
        submission: Vec<ListenAddress> = vec![ListenAddress::Port(587)];
        /// Mail from people's programs, under TLS from the first byte.
        submissions: Vec<ListenAddress> = vec![ListenAddress::Port(465)];
        /// Mail that servers fetch which are not always there (ATRN; see [[peer]]), in the clear and by STARTTLS; its port is
        /// 366. It is fetched where mail is submitted, too.
        odmr: Vec<ListenAddress> = vec![];
        /// Mail from another mail server of this site (LMTP). Whoever reaches it may deliver without a login.
        lmtp: Vec<ListenAddress> = vec![];
        /// POP3, in the clear and by STLS.
        pop3: Vec<ListenAddress> = vec![ListenAddress::Port(110)];
        /// POP3 under TLS from the first byte.
        pop3s: Vec<ListenAddress> = vec![ListenAddress::Port(995)];
        /// IMAP, in the clear and by STARTTLS.
        imap: Vec<ListenAddress> = vec![ListenAddress::Port(143)];
        /// IMAP under TLS from the first byte.
        imaps: Vec<ListenAddress> = vec![ListenAddress::Port(993)];
        /// FTP, in the clear and by AUTH TLS.
        ftp: Vec<ListenAddress> = vec![];
        /// FTP under TLS from the first byte.
        ftps: Vec<ListenAddress> = vec![];
        /// Numbers for Prometheus (/metrics) and a sign of life (/healthz), by HTTP in the clear. Not for the world.
        metrics: Vec<ListenAddress> = vec![];
        /// Take mail that users of this machine leave in the folder `drop` of the data directory, as `sendmail` does for
        /// whoever may not use the local socket, also while the server does not run. Everybody can put files there, and
        /// fill the disk by it.
        drop: bool = true;
        /// The local socket by which `packetboat account …` and other commands reach the running server. A relative
        /// path counts from the data directory.
        admin: PathBuf = PathBuf::from("admin.sock");
    }
}

section! {
    /// How much of everything. The defaults keep a small machine alive.
    Limits ["limits"] {
        /// Connections at a time, all services together.
        connections: u32 = 10_000, in 1..=10_000_000;
        /// Connections at a time from one IPv4 address, or one IPv6 /64.
        connections_per_address: u32 = 50, in 1..=10_000_000;
        /// Connections at a time that could log in and have not.
        connections_before_login: u32 = 2000, in 1..=10_000_000;
        /// Networks to which `connections_per_address` does not apply.
        trusted_networks: Vec<IpNet> = vec![loopback4(), loopback6()];
        /// The largest message.
        message_size: Size = mib(50), in Size(64 << 10)..=Size(4 << 30);
        /// Recipients of one message. Other servers may count on 100.
        recipients: u32 = 1000, in 100..=100_000;
        /// For the TLS handshake.
        handshake_timeout: Duration = seconds(30), in seconds(1)..=LONG;
        /// For each 64 KiB we send to be taken.
        write_timeout: Duration = seconds(120), in seconds(1)..=LONG;
        /// From the first byte of a line to its end.
        line_timeout: Duration = minutes(5), in seconds(1)..=LONG;
    }
}

fn loopback4() -> IpNet {
    IpNet::new_assert(std::net::Ipv4Addr::LOCALHOST.into(), 8).trunc()
}

fn loopback6() -> IpNet {
    IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128)
}

section! {
    /// Mail transfer, submission and LMTP.
    Smtp ["smtp"] {
        /// "lenient" understands what people type and old programs send, such as `MAIL FROM: a@b`; "strict" does not.
        strictness: Strictness = Strictness::Lenient;
        /// Text of the greeting, after the host name and "ESMTP".
        banner: String = "packetboat".to_owned();
        /// Wait so long before the greeting; what speaks earlier is not a mail server.
        greeting_delay: Duration = seconds(0), in seconds(0)..=seconds(60);
        /// For the next command. RFC 5321 asks for 5 minutes at least.
        command_timeout: Duration = minutes(5), in seconds(1)..=LONG;
        /// For the next piece of a message. RFC 5321 asks for 3 minutes at least.
        data_timeout: Duration = minutes(5), in seconds(1)..=LONG;
        /// Messages in one connection.
        messages: u32 = 1000, in 1..=10_000_000;
        /// Mistakes in one connection.
        errors: u32 = 20, in 1..=100_000;
        /// Senders, recipients and messages refused in one connection.
        refusals: u32 = 100, in 1..=1_000_000;
        /// Who may ask whether a user exists (VRFY): "nobody", "users" who have logged in, or "everybody", those who
        /// collect addresses among them.
        verify: Audience = Audience::Users;
        /// Who may ask to whom mail for an alias goes (EXPN).
        expand: Audience = Audience::Users;
        /// Who may write to the screens of users who are logged in (SEND, SOML, SAML).
        terminals: Audience = Audience::Users;
        /// Offer CRAM-MD5 for fetching mail (ATRN), whose programs know nothing else (RFC 2645); in the clear too. It works for
        /// accounts with an APOP secret, which is kept in a form that can be read.
        cram_md5: bool = false;
        /// How long a message may be handed in before it is to be sent (FUTURERELEASE). "0s" does not offer it.
        hold: Duration = seconds(30 * 24 * 60 * 60), in seconds(0)..=seconds(366 * 24 * 60 * 60);
    }
}

section! {
    /// POP3.
    Pop3 ["pop3"] {
        /// "lenient" forgives bare line feeds and stray blanks; "strict" does not.
        strictness: Strictness = Strictness::Lenient;
        /// For the next command. RFC 1939 asks for 10 minutes at least.
        timeout: Duration = minutes(10), in seconds(1)..=LONG;
        /// Offer APOP. It works for accounts with an APOP secret, which is kept in a form that can be read.
        apop: bool = false;
        /// The least time between two logins of an account.
        login_delay: Duration = seconds(0), in seconds(0)..=LONG;
        /// How long messages are promised to be kept: "never" deletes none, or a number of days such as "30d".
        expire: Expire = Expire::Never;
    }
}

section! {
    /// IMAP.
    Imap ["imap"] {
        /// For the next command. RFC 9051 asks for 30 minutes at least.
        timeout: Duration = minutes(30), in seconds(1)..=LONG;
        /// How long a program may wait for news (IDLE) without asking again.
        idle_timeout: Duration = minutes(30), in seconds(1)..=LONG;
        /// How often a waiting program is told that the connection still stands, for routers that forget.
        idle_keepalive: Duration = minutes(2), in seconds(10)..=LONG;
        /// Extensions that are not offered, by their names in CAPABILITY, such as "QRESYNC" or "COMPRESS=DEFLATE".
        disabled: Vec<Extension> = vec![];
        /// Extensions that are not offered to programs that name themselves so (ID), such as
        /// ["BadMail: QRESYNC CONDSTORE"].
        disabled_for: Vec<ClientFamily> = vec![];
    }
}

section! {
    /// FTP. Everybody who has an account has a directory of their own.
    Ftp ["ftp"] {
        /// Where these directories lie. A relative path counts from the data directory.
        homes: PathBuf = PathBuf::from("files");
        /// The first port for passive data connections; 0 takes any that is free.
        passive_first: u32 = 0, in 0..=65_535;
        /// The last one. A firewall has to let these in, and a router to pass them on.
        passive_last: u32 = 0, in 0..=65_535;
        /// One port for all passive data connections, in place of a range; 0: a range. Best where `data_tls_binding` is
        /// "require": in the clear, one session after the other waits at it for each address.
        passive_port: u32 = 0, in 0..=65_535;
        /// Sessions from one address (of IPv6: one /64) that may wait for a passive data connection at the same time.
        passive_per_address: u32 = 32, in 1..=10_000;
        /// The IPv4 address, or the host name that has it, that is announced for passive data connections, for servers behind
        /// a router. When not set, the one the client came to.
        announce: Option<Announced> = None;
        /// Clients of these networks are told something else: "own" is the address they came to.
        announce_to: Vec<AnnounceTo> = AnnounceTo::private_networks();
        /// A STUN server, such as "stun.example.org:3478", that is asked from time to time which address packets from here
        /// come from; it is announced in place of `announce`. Nobody is asked unless this is set.
        announce_discover: Option<HostPort> = None;
        /// Let clients name a port of theirs to connect to (PORT). It is on their own address, and none below 1024.
        active: bool = true;
        /// Where these connections come from: "default-data-port" is the port before that of the service, 20 for 21, which
        /// some firewalls expect, as long as it can be had; "any" is any.
        active_source: ActiveSource = ActiveSource::DefaultDataPort;
        /// Whether data connections under TLS have to resume the TLS session of the control connection, so that nobody else
        /// can come in its place: "require" refuses others, "prefer" takes them, "off" does not even look.
        data_tls_binding: DataTlsBinding = DataTlsBinding::Prefer;
        /// Take a file under TLS for whole whose data connection was closed without a farewell (close_notify). Anybody in
        /// between can then cut files short; for programs that never say farewell.
        data_tls_unclosed: bool = false;
        /// Let programs that have logged in under TLS transfer in the clear (PROT C).
        clear_data: bool = true;
        /// Let programs that have logged in under TLS go on in the clear on the control connection (CCC), for firewalls that
        /// have to read along. Whoever lies in between can then read, add and change commands.
        allow_ccc: bool = false;
        /// A file with the certificates of authorities. Whoever shows a certificate of theirs needs no password.
        client_authorities: Option<PathBuf> = None;
        /// A file with their lists of revoked certificates (CRL, PEM): one of each authority that has signed anything in the
        /// chain of a certificate, or that certificate is refused. Read at the start and at each reload.
        client_revocations: Option<PathBuf> = None;
        /// Where the name of the account stands in such a certificate: "email" (its alternative names) or "common-name".
        client_name: ClientName = ClientName::Email;
        /// Refuse log-ins without TLS.
        require_tls: bool = false;
        /// For the next command.
        timeout: Duration = minutes(15), in seconds(30)..=LONG;
        /// The most that a client may ask for in place of that (SITE IDLE).
        timeout_max: Duration = hours(2), in seconds(30)..=LONG;
        /// From the greeting to the log-in.
        login_timeout: Duration = minutes(1), in seconds(5)..=LONG;
    }
}

section! {
    /// Whom to ask about names, and whether to believe it.
    Dns ["dns"] {
        /// Name servers to ask; none: those of /etc/resolv.conf. They must resolve for others, as a resolver does.
        servers: Vec<SocketAddr> = vec![];
        /// "validate" checks signatures here, from the root on. "trust-ad" believes the name server that it has done so,
        /// which is good only where nobody can come between. "auto" is "trust-ad" if all name servers are on this machine
        /// (Unbound, or another that validates, is best there), and "validate" if not, as long as they pass signatures on:
        /// behind a router that does not, it is "off". "off" believes all, and then no server can be verified by DANE. Answers with wrong signatures are not used, and the mail waits.
        dnssec: DnssecMode = DnssecMode::Auto;
        /// A file with the DNSKEY records where trust begins, in place of the keys of the Internet's root.
        trust_anchor: Option<PathBuf> = None;
    }
}

section! {
    /// Mail that waits for other servers.
    Queue ["queue"] {
        /// How long a message is tried before it comes back to its sender. RFC 5321 asks for 4 to 5 days at least.
        lifetime: Duration = hours(5 * 24), in seconds(1)..=hours(60 * 24);
        /// After this time the sender is told, once, that the message is still on its way.
        delay_notice: Duration = hours(4), in seconds(1)..=hours(60 * 24);
        /// How long a message waits after each attempt; the last of these times repeats.
        retry: Vec<Duration> = packetboat_mail::queue::Settings::default().retries;
        /// How long a destination that cannot be reached is left alone; each time in a row twice as long...
        rest: Duration = minutes(1), in seconds(1)..=LONG;
        /// ...up to this.
        rest_max: Duration = hours(1), in seconds(1)..=LONG;
        /// Recipients that may wait at a time. When there are more, new mail for other servers is put off (452).
        recipients: u32 = 2_000_000, in 1..=1_000_000_000;
        /// Connections to other servers at a time.
        connections: u32 = 100, in 1..=100_000;
        /// Of these, connections for one destination...
        connections_per_destination: u32 = 20, in 1..=100_000;
        /// ...and so many at first, until it has shown that it can take more.
        connections_at_first: u32 = 2, in 1..=100_000;
        /// Recipients of one message that go to a destination together.
        recipients_per_message: u32 = 100, in 1..=10_000;
        /// A message of up to this size comes back whole with the notice of its failure, unless its sender says otherwise.
        return_unasked: Size = Size(64 << 10), in Size(0)..=Size(4 << 30);
        /// The same where its sender asks for it.
        return_max: Size = mib(10), in Size(0)..=Size(4 << 30);
        /// Who answers for notices. When not set, the postmaster of the default domain, or of `hostname`.
        postmaster: Option<Address> = None;
    }
}

section! {
    /// How sure it must be that mail to other servers reaches the right one. Where neither says anything, TLS is used if
    /// it is offered.
    OutboundTls ["outbound_tls"] {
        /// Verify servers by TLSA records in signed zones (DANE, RFC 7672).
        dane: bool = true;
        /// Fetch the policies of domains over HTTPS and keep to them (MTA-STS, RFC 8461).
        mta_sts: bool = true;
        /// A PEM file of certificate authorities to trust, in place of this system's.
        authorities: Option<PathBuf> = None;
    }
}

section! {
    /// Mail to other servers.
    Relay ["relay"] {
        /// Networks whose programs may send to everybody without a login, under any name.
        trusted_networks: Vec<IpNet> = vec![];
        /// The name said in EHLO. When not set, `hostname`. The source address should point back to it (PTR).
        hello: Option<Domain> = None;
        /// The IPv4 address to send from. When not set, the system chooses.
        source_ipv4: Option<Ipv4Addr> = None;
        /// The IPv6 address to send from. When not set, the system chooses.
        source_ipv6: Option<Ipv6Addr> = None;
        /// Which family is tried first: "ipv6" or "ipv4". The other one follows.
        prefer: Family = Family::Ipv6;
        /// "opportunistic" uses TLS where it is offered and sends in the clear where it is not, or where the handshake
        /// fails; "required" sends nothing in the clear; "never" sends everything so.
        tls: OutgoingTls = OutgoingTls::Opportunistic;
        /// The port of other servers.
        port: u16 = 25;
        /// Send messages in chunks (BDAT) to servers that take them.
        chunking: bool = true;
        /// Connections to one host at a time, whatever the domains are.
        connections_per_host: u32 = 20, in 1..=100_000;
        /// Messages over one connection.
        messages: u32 = 1000, in 1..=10_000_000;
        /// How long a connection without work is kept for the next message.
        idle: Duration = seconds(5), in seconds(0)..=seconds(600);
        /// How long a host that does not answer is left alone.
        unreachable: Duration = seconds(30), in seconds(0)..=LONG;
        /// For the connection to one address.
        connect_timeout: Duration = seconds(30), in seconds(1)..=LONG;
        /// For the greeting. RFC 5321 asks for 5 minutes at least, as for the next one.
        greeting_timeout: Duration = minutes(5), in seconds(1)..=LONG;
        /// For the answer to a command.
        command_timeout: Duration = minutes(5), in seconds(1)..=LONG;
        /// For the answer to DATA. RFC 5321 asks for 2 minutes at least.
        data_timeout: Duration = minutes(2), in seconds(1)..=LONG;
        /// For the answer to a whole message. Who gives up too early delivers it twice; RFC 5321 asks for 10 minutes.
        end_timeout: Duration = minutes(10), in seconds(1)..=LONG;
    }
}

section! {
    /// A way for mail that does not go to the mail hosts of its recipient's domain. The section may stand several times.
    /// The sender decides first, then the recipient's domain.
    Route ["[route]"] {
        /// The recipients' domains it is for: "example.org", "*.example.org" for those below, "*" for all others.
        domains: Vec<DomainPattern> = vec![];
        /// The senders it is for, whoever gets it: "alice@example.org", or "@example.org" for all of a domain.
        senders: Vec<SenderPattern> = vec![];
        /// Where it leads: "mx", "mx:DOMAIN", "host:NAME:PORT", "smarthost:NAME", "lmtp:/PATH", "lmtp:NAME:PORT",
        /// "peer:NAME", or "none" to refuse such mail.
        via: Via = Via::default();
    }
}

section! {
    /// A server that takes mail for everybody, such as that of a provider. The section may stand several times; what goes
    /// there is said by [[route]].
    Smarthost ["[smarthost]"] {
        /// What routes call it.
        name: String = String::new();
        /// Its name in DNS, for which its certificate has to be.
        host: String = String::new();
        /// Its port.
        port: u16 = 587;
        /// "starttls", "implicit" (TLS from the first byte, usually port 465), or "none".
        tls: SmarthostTls = SmarthostTls::StartTls;
        /// Authorities to trust, in a PEM file; when not set, those of the system.
        ca: Option<PathBuf> = None;
        /// The name to log in with. When not set, there is no login.
        user: Option<String> = None;
        /// The file with the password, in its first line. Read at start and reload.
        password_file: Option<PathBuf> = None;
        /// Let the password travel without TLS.
        plaintext_login: bool = false;
    }
}

section! {
    /// A server that is not always there, such as that of an office behind a line that is dialled: mail for its domains is
    /// taken from everybody, and waits until it is fetched. The section may stand several times.
    Peer ["[peer]"] {
        /// What it is called; for routes, "peer:NAME".
        name: String = String::new();
        /// The domains whose mail it gets.
        mail_for: Vec<Domain> = vec![];
        /// The logins that may fetch its mail (ATRN).
        logins: Vec<Address> = vec![];
        /// Networks from which its mail may be fetched without a login (TURN; whoever has an address in them gets the
        /// mail), or its sending be asked for (ETRN).
        networks: Vec<IpNet> = vec![];
        /// Where its mail is sent to when it asks for it (ETRN), "HOST:PORT". When not set, it can only be fetched.
        send_to: Option<String> = None;
    }
}

section! {
    /// Names and addresses.
    Accounts ["accounts"] {
        /// The domain meant when somebody logs in without one. When not set and there is one domain only, that one is
        /// meant.
        default_domain: Option<Domain> = None;
        /// Mail to alice+lists@example.org goes to alice@example.org: the character between the two, or "" for no
        /// such addresses.
        subaddress_separator: Separator = Separator(Some('+'));
    }
}

section! {
    /// Logging in.
    Auth ["auth"] {
        /// Let passwords travel without TLS. Whoever listens on the way then knows them.
        plaintext_without_tls: bool = false;
        /// What is offered, best first.
        mechanisms: Vec<Mechanism> = Mechanism::ALL.to_vec();
        /// Memory for hashing one password (argon2id). More is safer against whoever steals the hashes.
        hash_memory: Size = mib(19), in Size(8 << 10)..=Size(4 << 30);
        /// Passes over that memory.
        hash_passes: u32 = 2, in 1..=100;
        /// Passwords hashed at a time; each takes `hash_memory`. More than the processors cannot help.
        hashes_at_a_time: u32 = 2, in 1..=256;
        /// Remember for so long whether a password was right, so that a program that logs in every minute costs
        /// little. "0s" does not remember.
        cache: Duration = minutes(10), in seconds(0)..=LONG;
        /// Wrong passwords in one connection.
        failures: u32 = 5, in 1..=1000;
        /// Work for whoever tries passwords on stolen SCRAM keys, and for each program at each log-in by SCRAM.
        scram_iterations: u32 = 20_000, in 4096..=1_000_000;
        /// Wrong passwords on one account or from one network that cost nothing. After these the next tries wait,
        /// each twice as long as the one before.
        delay_after: u32 = 3, in 1..=1000;
        /// Wrong passwords from one network (IPv4 address, IPv6 /64) until it is banned. Networks in
        /// `limits.trusted_networks` are not.
        ban_after: u32 = 20, in 1..=1_000_000;
        /// For how long.
        ban_for: Duration = minutes(15), in seconds(1)..=seconds(366 * 24 * 60 * 60);
    }
}

section! {
    /// What is kept on disk.
    Store ["store"] {
        /// Refuse new mail, for now, when less than this is free on the disk.
        disk_floor: Size = mib(256);
        /// Bodies of deleted messages stay for so long.
        keep_deleted: Duration = seconds(24 * 60 * 60), in seconds(0)..=seconds(366 * 24 * 60 * 60);
    }
}

section! {
    /// The story of each message, for `packetboat trace`: who sent it, where it went, what other servers said. Names and
    /// addresses are in it, and nothing of what people write.
    Trace ["trace"] {
        /// Keep it.
        enabled: bool = true;
        /// For so long.
        keep: Duration = seconds(14 * 24 * 60 * 60), in minutes(1)..=seconds(366 * 24 * 60 * 60);
        /// Octets of all of it; the oldest goes first.
        size: Size = mib(256), in mib(1)..=Size(1 << 40);
    }
}

section! {
    /// The log, on standard error.
    Log ["log"] {
        /// "text" for people, "json" for programs.
        format: LogFormat = LogFormat::Text;
        /// "error", "warn", "info", "debug" or "trace", for all or by part: "info,packetboat_smtp=debug". The
        /// environment variable PACKETBOAT_LOG comes first.
        level: String = "info".to_owned();
    }
}
