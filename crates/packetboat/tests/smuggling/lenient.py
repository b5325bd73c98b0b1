"""A server that takes anything with a dot between line ends of any kind for the end of a message, and has never heard of
NUL. Argument: what it offers beside PIPELINING. Writes one line of JSON for each message into `taken`."""
import json, socket, sys, threading

offers = sys.argv[1:]
lock = threading.Lock()
out = open("taken", "a")

class Lines:
    """The lines of a connection: CR, LF and CRLF end one; NULs are dropped."""
    def __init__(self, s):
        self.s, self.buffer, self.skip_lf = s, b"", False
    def fill(self):
        got = self.s.recv(65536)
        if not got:
            raise EOFError
        self.buffer += got.replace(b"\0", b"")
    def octet(self):
        while not self.buffer:
            self.fill()
        octet, self.buffer = self.buffer[:1], self.buffer[1:]
        return octet
    def line(self):
        line = b""
        while True:
            octet = self.octet()
            if octet == b"\n" and self.skip_lf:
                self.skip_lf = False
                continue
            self.skip_lf = octet == b"\r"
            if octet in b"\r\n":
                return line.decode("latin-1")
            line += octet

def serve(s):
    lines = Lines(s)
    say = lambda text: s.sendall(text.encode() + b"\r\n")
    say("220 lenient ESMTP")
    sender, text = None, []
    while True:
        line = lines.line()
        verb = line[:4].upper()
        if verb == "EHLO":
            say("\r\n".join("250-" + it for it in ["lenient", "PIPELINING", *offers]) + "\r\n250 HELP")
        elif verb == "MAIL":
            sender = line[10:]
            say("250 ok")
        elif verb == "DATA":
            say("354 go on")
            text = []
            while (got := lines.line()) != ".":
                text.append(got.removeprefix("."))
            with lock:
                out.write(json.dumps([sender, text]) + "\n")
                out.flush()
            say("250 taken")
        elif verb == "QUIT":
            say("221 bye")
            return
        else:
            say("250 ok")

def run(s):
    try:
        serve(s)
    except (EOFError, OSError):
        pass
    finally:
        s.close()

listener = socket.create_server(("0.0.0.0", 25))
while True:
    threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()
