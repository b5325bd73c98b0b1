import ftplib, io, os, ssl, sys
host, port, tls_port, ca = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def check(f):
    f.login('alice@boat.test', 'demo')
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

class Implicit(ftplib.FTP_TLS):
    """TLS from the first byte, as the library's users write it themselves."""
    _sock = None

    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._sock = value

class Resuming(ftplib.FTP_TLS):
    """Data connections that resume the session of the control connection, as many servers demand."""
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
            assert conn.session_reused, 'the session is not resumed'
        return conn, size

tls = ssl.create_default_context(cafile=ca)
old = ssl.create_default_context(cafile=ca)
old.maximum_version = ssl.TLSVersion.TLSv1_2
for make, at in [
    (lambda: ftplib.FTP(), port),
    (lambda: ftplib.FTP_TLS(context=tls), port),
    (lambda: Resuming(context=tls), port),
    (lambda: Resuming(context=old), port),
    (lambda: Implicit(context=tls), tls_port),
]:
    for passive in [True, False]:
        f = make()
        f.connect(host, at)
        f.set_pasv(passive)
        check(f)
