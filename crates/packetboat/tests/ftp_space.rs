//! What can be done with files on the server without fetching them, by Python's ftplib against the real program.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Demo, foreign};

const BEGIN: &str = r#"
import ftplib, hashlib, io, os, re, sys, zlib
def login():
    f = ftplib.FTP()
    f.connect('localhost', int(sys.argv[1]))
    f.login('alice@demo.test', 'demo')
    return f
def refused(command, code):
    try:
        f.voidcmd(command)
        assert False, command
    except ftplib.Error as error:
        assert str(error).startswith(str(code)), (command, error)
def put(name, data):
    f.storbinary('STOR ' + name, io.BytesIO(data))
def get(name):
    out = io.BytesIO()
    f.retrbinary('RETR ' + name, out.write)
    return out.getvalue()
def lines(command):
    out = []
    f.retrlines(command, out.append)
    return out
f = login()
"#;

fn run(script: &str) {
    let demo = Demo::start();
    let port = demo.port("ftp").to_string();
    foreign("python3").arg("-c").arg([BEGIN, script].concat()).arg(&port).run();
}

#[test]
fn checksums() {
    run(r#"
data = os.urandom(3_000_000)
put('f', data)
assert f.sendcmd('HASH f') == '213 SHA-256 0-3000000 %s f' % hashlib.sha256(data).hexdigest()
for name, word in [('SHA-512', 'sha512'), ('SHA-1', 'sha1'), ('MD5', 'md5')]:
    assert f.sendcmd('OPTS HASH ' + name) == '200 ' + name
    assert f.sendcmd('HASH f').split()[3] == hashlib.new(word, data).hexdigest()
    assert '%s*' % name in f.sendcmd('FEAT')
f.sendcmd('RANG 100 199')
assert f.sendcmd('HASH f') == '213 MD5 100-200 %s f' % hashlib.md5(data[100:200]).hexdigest()
assert f.sendcmd('XCRC f') == '250 %08x' % zlib.crc32(data)
assert f.sendcmd('XCRC "f" 5 77') == '250 %08x' % zlib.crc32(data[5:77])
for command, word in [('XMD5', 'md5'), ('MD5', 'md5'), ('XSHA', 'sha1'), ('XSHA1', 'sha1'), ('XSHA256', 'sha256'), ('XSHA512', 'sha512')]:
    assert f.sendcmd(command + ' f') == '250 ' + hashlib.new(word, data).hexdigest()
refused('XCRC "f" 5 3000001', 501)
refused('XCRC none', 550)
refused('HASH /', 550)
# Changed, and so is the checksum.
put('f', b'123456789')
assert f.sendcmd('XCRC f') == '250 cbf43926'
# Given up in the middle, the session goes on.
f.voidcmd('TYPE I')
f.sock.sendall(b'SITE COPY f g\r\nABOR\r\nNOOP\r\n')
said = [f.getline()[:3] for _ in range(3)]
assert said in (['200', '225', '200'], ['200', '226', '200'], ['451', '226', '200']), said
"#);
}

#[test]
fn files_are_copied_joined_and_described() {
    run(r#"
put('a', b'one\n'); put('b', b'two\n')
f.voidcmd('SITE COPY a c')
assert get('c') == b'one\n' == get('a')
assert f.sendcmd('SITE CPFR a').startswith('350')
f.voidcmd('SITE CPTO d')
assert get('d') == b'one\n'
refused('SITE CPFR none', 550)
refused('SITE CPTO e', 503)
f.voidcmd('COMB all a b')
assert get('all') == b'one\ntwo\n'
refused('RETR a', 550)
refused('COMB all none', 550) if False else refused('COMB all none', 553)
# Sizes as they would be sent.
f.voidcmd('TYPE I'); assert f.size('all') == 8
f.voidcmd('TYPE A'); assert f.size('all') == 10
f.voidcmd('TYPE E'); assert f.size('all') == 8
f.voidcmd('STRU R'); assert f.size('all') == 3 + 2 + 3 + 2 + 2
f.voidcmd('STRU F'); f.voidcmd('TYPE I')
# STAT over the control connection, with the account's names.
said = f.sendcmd('STAT /').splitlines()
assert said[0].startswith('212-') and said[-1].startswith('212 '), said
assert any(re.search(r'alice +demo.test +8 .* all$', line) for line in said), said
said = f.sendcmd('STAT all').splitlines()
assert said[0].startswith('213-') and len(said) == 3, said
refused('STAT none', 550)
assert 'alice' in lines('LIST')[0]
# When it was made.
assert f.sendcmd('MFCT 20000229123456 all') == '213 Create=20000229123456; all'
assert f.sendcmd('MFF Create=20010101000000;Modify=20020202020202; c').startswith('213')
# An entry stands behind one space: another would be the end of no facts, and all the rest a name (RFC 3659 section 7.2).
entry = f.sendcmd('MLST all').splitlines()[1]
assert entry.startswith(' Type=file;') and entry.endswith('; /all') and 'Create=20000229123456;' in entry, entry
# A range that the file does not have.
f.voidcmd('TYPE I'); assert f.sendcmd('RANG 9 12').startswith('350'); refused('RETR all', 554)
facts = dict(f.mlsd())
assert facts['all']['create'] == '20000229123456' and facts['c']['create'] == '20010101000000'
assert facts['c']['modify'] == '20020202020202'
assert 'used' in f.sendcmd('SITE QUOTA') or 'No limit' in f.sendcmd('SITE QUOTA')
# Names of their own.
for want in ['u', 'u.1', 'u.2']:
    said = []
    with f.transfercmd('STOU u') as line: line.sendall(b'x')
    assert want in f.voidresp()
assert sorted(f.nlst()) == ['all', 'c', 'd', 'u', 'u.1', 'u.2'], f.nlst()
f.voidcmd('SITE MKDIR x/y/z'); f.voidcmd('SITE RMDIR x')
refused('CWD x', 550)
"#);
}

#[test]
fn an_upload_that_broke_goes_on() {
    run(r#"
import shutil, signal, socket, struct, subprocess, tempfile, time
url = 'ftp://localhost:' + sys.argv[1]
data = os.urandom(4_000_000)
local = tempfile.mkdtemp() + '/f'
open(local, 'wb').write(data)

def until(what):
    for _ in range(2400):
        if what(): return
        time.sleep(0.05)
    assert False, what
watch = login()
def moved():
    # How many octets of what is being stored the server has taken.
    found = re.search(r'(?:STOR|APPE) .*? (\d+) octets', watch.sendcmd('SITE WHO'))
    return int(found[1]) if found else 0
def size(f, name):
    f.voidcmd('TYPE I')
    try:
        return f.size(name)
    except ftplib.error_perm as error:
        assert str(error).startswith('550'), error
        return None
def reset(line):
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    line.close()
def nothing_is_seen():
    assert f.nlst() == [] and lines('LIST') == [] and list(f.mlsd()) == [], lines('LIST')
    refused('RETR f', 550)

# The data connection is reset.
f.voidcmd('TYPE I')
line = f.transfercmd('STOR f')
line.sendall(data[:1_000_000])
until(lambda: moved() == 1_000_000)
reset(line)
try:
    f.voidresp(); assert False
except ftplib.error_temp as error:
    assert str(error).startswith('426'), error
at = size(f, 'f')
assert at == 1_000_000, at
assert 'Size=1000000;' in f.sendcmd('MLST f')
nothing_is_seen()
# REST and STOR; and ABOR in the middle.
f.voidcmd('TYPE I')
line = f.transfercmd('STOR f', rest=at)
line.sendall(data[at:at + 500_000])
until(lambda: moved() > 0)
f.putcmd('ABOR')
said = [f.getline()[:3], f.getline()[:3]]
line.close()
assert said == ['426', '226'], said
at = size(f, 'f')
assert 1_000_000 <= at <= 1_500_000, at
nothing_is_seen()
# Python goes on to the end.
f.storbinary('STOR f', io.BytesIO(data[at:]), rest=at)
assert get('f') == data
f.delete('f')

def kill_in_the_middle(command):
    # A client that is killed: its system closes both connections, which looks like the end of the file.
    # Between the two a busy machine may have other things to do for longer than the server waits: then it is tried again.
    for attempt in range(20):
        child = subprocess.Popen(command)
        until(lambda: moved() > 100_000)
        time.sleep(1)
        child.send_signal(signal.SIGKILL); child.wait()
        until(lambda: (size(watch, 'f') or 0) > 0)
        if f.nlst() == []: break
        f.delete('f')
    nothing_is_seen()

curl = ['curl', '--silent', '--show-error', '--user', 'alice@demo.test:demo']
kill_in_the_middle(curl + ['--limit-rate', '500k', '-T', local, url + '/f'])
at = size(f, 'f')
assert 0 < at < len(data), at
subprocess.run(curl + ['-C', '-', '-T', local, url + '/f'], check=True)
assert get('f') == data
f.delete('f')

if shutil.which('lftp'):
    lftp = lambda what: ['lftp', '-u', 'alice@demo.test,demo', '-e', 'set ftp:ssl-allow false; set net:max-retries 1; ' + what + '; bye', url]
    kill_in_the_middle(lftp('set net:limit-rate 0:500000; put ' + local + ' -o f'))
    at = size(f, 'f')
    assert 0 < at < len(data), at
    subprocess.run(lftp('put -c ' + local + ' -o f'), check=True)
    assert get('f') == data
    f.delete('f')

# Text: sizes and places are those of what is sent.
text = b''.join(b'line %d\r\n' % n for n in range(100_000))
f.voidcmd('TYPE A')
line = f.transfercmd('STOR f')
line.sendall(text[:700_001])
until(lambda: moved() > 0)
reset(line)
try: f.voidresp()
except ftplib.error_temp: pass
f.voidcmd('TYPE A')
at = f.size('f')
assert 0 < at <= 700_001
with f.transfercmd('STOR f', rest=at) as line: line.sendall(text[at:])
f.voidresp()
assert get('f') == text.replace(b'\r\n', b'\n')

# In the place of a file: the old one stays as it is, and is not mixed with the new one.
f.voidcmd('MFMT 20000101000000 f')
f.voidcmd('TYPE I')
line = f.transfercmd('STOR f')
line.sendall(b'new')
until(lambda: moved() == 3)
reset(line)
try: f.voidresp()
except ftplib.error_temp: pass
whole = size(f, 'f')
assert whole == len(text) - 100_000
assert subprocess.run(curl + ['-C', '-', '-T', local, url + '/f'], stderr=subprocess.DEVNULL).returncode != 0
assert get('f') == text.replace(b'\r\n', b'\n')
subprocess.run(curl + ['-T', local, url + '/f'], check=True)
assert get('f') == data
"#);
}

#[test]
fn wildcards() {
    run(r#"
for name in ['a.txt', 'b.txt', 'c.zip', '.hidden', 'd1', '[x].txt']: put(name, b'12345')
f.mkd('sub'); put('sub/e.txt', b'1'); put('sub/f.zip', b'1')
assert sorted(lines('NLST *.txt')) == ['[x].txt', 'a.txt', 'b.txt'], lines('NLST *.txt')
assert sorted(lines('NLST [a-c]?*')) == ['a.txt', 'b.txt', 'c.zip']
assert lines('NLST sub/*.txt') == ['sub/e.txt']
assert lines('NLST /s?b/*.zip') == ['/sub/f.zip']
assert lines('NLST [x].txt') == ['[x].txt'], 'a file of this name'
assert lines('NLST *.none') == []
assert lines('NLST .h*') == ['.hidden']
assert len(lines('LIST *.txt')) == 3 and all(l.startswith('-rw') for l in lines('LIST -la *.txt'))
assert [l.split()[-1] for l in lines('LIST -r ?.*')] == ['c.zip', 'b.txt', 'a.txt']
assert len(f.sendcmd('STAT *.txt').splitlines()) == 5
assert len(lines('LIST -R s*')) == 1
refused('NLST none/*', 550)
refused('NLST ' + '*/../' * 20 + '*', 550)
"#);
}
