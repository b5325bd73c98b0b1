//! Files over FTP, by programs that nobody here wrote: curl and Python's ftplib; in the clear, by AUTH TLS and under TLS
//! from the first byte; active and passive.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Demo, foreign};

const SESSION: &str = r#"
import ftplib, io, os, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]

def check(f):
    f.login('alice@demo.test', 'demo')
    if isinstance(f, ftplib.FTP_TLS): f.prot_p()
    data = os.urandom(3_000_000)
    def get(**more):
        out = io.BytesIO()
        f.retrbinary('RETR blob', out.write, **more)
        return out.getvalue()
    f.storbinary('STOR blob', io.BytesIO(data))
    assert get() == data and f.size('blob') == len(data) and f.nlst() == ['blob']
    assert get(rest=1_000_000) == data[1_000_000:]
    f.storbinary('STOR blob', io.BytesIO(data[2_000_000:]), rest=2_000_000)
    assert get() == data
    f.storbinary('APPE blob', io.BytesIO(b'more'))
    assert get() == data + b'more'
    assert f.mkd('with space') == '/with space'
    f.cwd('with space')
    assert f.pwd() == '/with space'
    f.storlines('STOR text', io.BytesIO(b'one\ntwo\n'))
    lines = []
    f.retrlines('RETR text', lines.append)
    assert lines == ['one', 'two']
    out = io.BytesIO()
    f.retrbinary('RETR text', out.write)
    assert out.getvalue() == b'one\ntwo\n', out.getvalue()
    (name, facts), = f.mlsd()
    assert name == 'text' and facts['type'] == 'file' and facts['size'] == '8'
    lines = []
    f.dir(lines.append)
    assert len(lines) == 1 and lines[0].startswith('-rw-r--r--') and lines[0].endswith(' text'), lines
    f.rename('text', 'other')
    f.delete('other')
    f.cwd('..')
    f.rmd('with space')
    f.delete('blob')
    for wrong in ['RETR blob', 'CWD ../../etc', 'DELE nothing', 'MKD /a/b/c']:
        try:
            f.voidcmd(wrong)
            assert False, wrong
        except ftplib.error_perm as error:
            assert str(error).startswith('550'), error
    assert f.nlst() == []
    f.quit()

tls = ssl.create_default_context(cafile=ca)
for make in [lambda: ftplib.FTP(), lambda: ftplib.FTP_TLS(context=tls)]:
    for passive in [True, False]:
        f = make()
        f.connect('localhost', port)
        f.set_pasv(passive)
        check(f)
"#;

#[test]
fn python_ftplib() {
    let demo = Demo::start();
    let port = demo.port("ftp").to_string();
    foreign("python3").arg("-c").arg(SESSION).arg(&port).arg(demo.ca()).run();
    // What was stored lies as a file of this machine, and what failed left nothing.
    let home = demo.dir().join("data/files/alice@demo.test");
    assert_eq!(std::fs::read_dir(home).unwrap().count(), 0);
}

#[test]
fn curl_in_every_way_it_knows() {
    let demo = Demo::start();
    let file = demo.dir().join("sent");
    let data: Vec<u8> = (0..2_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&file, &data).unwrap();
    let (ftp, ftps) = (demo.port("ftp"), demo.port("ftps"));
    let user = ["--silent", "--show-error", "--user", "bob@demo.test:demo", "--cacert", demo.ca()];
    // Active and protected at once is more than Debian 12's curl can do, with any server; Python's ftplib can.
    for (n, (url, more)) in [
        (format!("ftp://127.0.0.1:{ftp}"), ""),
        (format!("ftp://127.0.0.1:{ftp}"), "--disable-epsv"),
        (format!("ftp://127.0.0.1:{ftp}"), "--ftp-port -"),
        (format!("ftp://127.0.0.1:{ftp}"), "--ftp-port - --disable-eprt"),
        (format!("ftp://localhost:{ftp}"), "--ssl-reqd"),
        (format!("ftps://localhost:{ftps}"), ""),
    ]
    .iter()
    .enumerate()
    {
        let curl = || user.iter().fold(foreign("curl"), |curl, argument| curl.arg(argument)).args(more);
        let at = format!("{url}/new/sub/{n}.bin");
        curl().arg("--ftp-create-dirs").arg("--upload-file").arg(&file).arg(&at).run();
        assert_eq!(curl().arg(&at).run().out, data, "{url} {more}");
        let part = curl().arg("--range").arg("1000-1999").arg(&at).run().out;
        assert_eq!(part, &data[1000..2000], "{url} {more}");
        let listing = curl().arg(format!("{url}/new/sub/")).run().text();
        assert!(listing.contains("8000000 ") && listing.contains(&format!("{n}.bin")), "{listing}");
        assert_eq!(
            std::fs::read(demo.dir().join(format!("data/files/bob@demo.test/new/sub/{n}.bin"))).unwrap(),
            data
        );
    }
    let wrong = foreign("curl").args("--silent --show-error --user bob@demo.test:wrong");
    assert_eq!(wrong.arg(format!("ftp://127.0.0.1:{ftp}/")).attempt().code, Some(67));
}
