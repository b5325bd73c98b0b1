"""Mail servers that answer as they are told. Argument: a file of JSON, {address: {verb: reply}}, where the verb may be CONNECT
or END, or a verb with what its argument contains ("RCPT two@"). Writes what it sees as lines of JSON into `seen`."""
import json, socket, sys, threading

config = json.load(open(sys.argv[1]))
lock = threading.Lock()
out = open("seen", "a")

def note(**facts):
    with lock:
        out.write(json.dumps(facts) + "\n")
        out.flush()

def serve(at, answers, s):
    f = s.makefile("rwb")

    def answer(verb, usual, argument=""):
        for key, reply in answers.items():
            name, _, part = key.partition(" ")
            if name == verb and part in argument:
                usual = reply
        f.write(usual.encode() + b"\r\n")
        f.flush()
        return usual[0] in "23"

    note(at=at, event="connected")
    if not answer("CONNECT", "220 sink ESMTP"):
        return
    to, is_open = [], False
    while line := f.readline().decode("utf-8", "replace"):
        verb, _, argument = line.strip().partition(" ")
        if verb == "EHLO":
            answer(verb, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8")
        elif verb == "MAIL":
            to = []
            is_open = answer(verb, "250 ok", argument)
        elif verb == "RCPT":
            if is_open and answer(verb, "250 ok", argument):
                to.append(argument[4:-1])
            if not is_open:
                f.write(b"503 MAIL first\r\n")
                f.flush()
        elif verb == "DATA" and not to:
            f.write(b"554 nobody\r\n")
            f.flush()
        elif verb == "DATA":
            if answer(verb, "354 go on"):
                while f.readline() not in (b".\r\n", b""):
                    pass
                if answer("END", "250 2.0.0 taken"):
                    note(at=at, event="taken", to=to)
        elif verb == "QUIT":
            answer(verb, "221 bye")
            return
        else:
            answer(verb, "250 ok")

def listen(at, answers):
    listener = socket.create_server((at, 25))
    def one(s):
        try:
            serve(at, answers, s)
        except OSError:
            pass
        finally:
            s.close()
    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

for at, answers in config.items():
    threading.Thread(target=listen, args=(at, answers), daemon=True).start()
threading.Event().wait()
