"""Mail servers with TLS of all sorts, and a web server with the policies of their domains.

Standard input: JSON. `peers` is a list of {at, mode, chain, key, require_tls}; mode is `tls`, `old` (TLS 1.0 alone),
`broken` (no TLS behind STARTTLS) or `clear` (no STARTTLS). `web` is {at, chain, key, policies: {host: text}}. Writes what it
sees as lines of JSON into `seen`.
"""
import http.server, json, socket, ssl, sys, threading

config = json.load(open(sys.argv[1]))
lock = threading.Lock()
out = open("seen", "a")

def note(**facts):
    with lock:
        out.write(json.dumps(facts) + "\n")
        out.flush()

def context(it, old=False):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if old:
        made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1
        made.set_ciphers("ALL:@SECLEVEL=0")
    made.load_cert_chain(it["chain"], it["key"])
    return made

def serve(peer, s):
    tls, at, mode = None, peer["at"], peer["mode"]
    note(at=at, event="connected")
    f = s.makefile("rwb")

    def say(text):
        f.write(text.encode() + b"\r\n")
        f.flush()

    say("220 peer ESMTP")
    mail = None
    while True:
        line = f.readline().decode("latin-1").rstrip("\r\n")
        verb = line[:4].upper()
        if verb == "EHLO":
            offers = ["PIPELINING", "8BITMIME"]
            if mode != "clear" and tls is None:
                offers.append("STARTTLS")
            if peer.get("require_tls") and tls:
                offers.append("REQUIRETLS")
            say("\r\n".join("250-" + it for it in ["peer", *offers]) + "\r\n250 HELP")
        elif verb == "STAR":
            say("220 go on")
            if mode == "broken":
                s.sendall(b"I know nothing of TLS\r\n")
                note(at=at, event="broken")
                return
            try:
                s = context(peer, mode == "old").wrap_socket(s, server_side=True)
                f = s.makefile("rwb")
                tls = s.version()
            except (ssl.SSLError, OSError) as error:
                note(at=at, event="handshake failed", why=str(error))
                return
        elif verb == "MAIL":
            mail = line
            say("250 ok")
        elif verb == "DATA":
            say("354 go on")
            subject = ""
            while (got := f.readline()) not in (b".\r\n", b""):
                if got.startswith(b"Subject: ") and not subject:
                    subject = got[9:].decode().strip()
            note(at=at, event="taken", tls=tls, mail=mail, subject=subject)
            say("250 2.0.0 taken")
        elif verb == "QUIT":
            say("221 bye")
            return
        elif verb == "":
            return
        else:
            say("250 ok")

def listen(peer):
    listener = socket.create_server((peer["at"], 25))
    def one(s):
        try:
            serve(peer, s)
        except OSError as error:
            note(at=peer["at"], event="lost", why=str(error))
        finally:
            s.close()
    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

class Policies(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        policy = config["web"]["policies"].get(host)
        note(at=host, event="asked", path=self.path)
        if policy is None or self.path != "/.well-known/mta-sts.txt":
            self.send_error(404)
            return
        text = policy.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass

for peer in config["peers"]:
    threading.Thread(target=listen, args=(peer,), daemon=True).start()
web = http.server.ThreadingHTTPServer((config["web"]["at"], 443), Policies)
web.socket = context(config["web"]).wrap_socket(web.socket, server_side=True)
web.serve_forever()
