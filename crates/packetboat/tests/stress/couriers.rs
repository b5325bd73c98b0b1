//! Who brings mail by SMTP and takes it by POP3, while the sessions are at it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{Outcome, Random, Trouble, wrong};
use super::world::{World, is_kept, message};

#[derive(Debug)]
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn connect(at: SocketAddr) -> Outcome<Lines> {
        let stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_nodelay(true)?;
        Ok(Lines(BufReader::new(stream)))
    }

    fn read(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.ends_with("\r\n") {
            return Err(Trouble::Lost("end of stream".to_owned()));
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn say(&mut self, octets: &[u8]) -> Outcome {
        Ok(self.0.get_mut().write_all(octets)?)
    }

    /// The last line of the reply to a command.
    fn ask(&mut self, command: &str) -> Outcome<String> {
        self.say(format!("{command}\r\n").as_bytes())?;
        loop {
            let line = self.read()?;
            if line.as_bytes().get(3) != Some(&b'-') || line.starts_with('-') {
                return Ok(line);
            }
        }
    }
}

/// Delivers one message to INBOX.
pub fn deliver(at: SocketAddr, world: &World) -> Outcome {
    let token = world.new_token();
    let mut smtp = Lines::connect(at)?;
    smtp.read()?;
    let recipient = format!("RCPT TO:<{}>", world.login);
    for command in ["EHLO tests.example", "MAIL FROM:<alice@tests.example>", &recipient, "DATA"] {
        let reply = smtp.ask(command)?;
        if !reply.starts_with(['2', '3']) {
            return wrong(format!("{command} was answered {reply}"));
        }
    }
    world.state().may_arrive(&token);
    smtp.say(&message(&world.login, &token))?;
    let reply = smtp.ask(".")?;
    if !reply.starts_with("250") {
        return wrong(format!("a message was answered {reply}"));
    }
    world.state().delivered(&token);
    smtp.ask("QUIT").map(drop)
}

/// Reads some messages of INBOX, and deletes some of these.
pub fn pop(at: SocketAddr, world: &World, random: &mut Random) -> Outcome {
    let mut pop = Lines::connect(at)?;
    pop.read()?;
    pop.ask(&format!("USER {}", world.login))?;
    let entered = pop.ask("PASS demo")?;
    if entered.starts_with("-ERR [IN-USE]") {
        return Ok(());
    }
    let listed = pop.ask("STAT")?;
    let Some(count) = listed.strip_prefix("+OK ").and_then(|text| text.split(' ').next()?.parse().ok())
    else {
        return wrong(format!("{entered}; STAT: {listed}"));
    };
    let mut deleted = Vec::new();
    for _ in 0..5.min(count) {
        let number = 1 + random.below(count);
        let reply = pop.ask(&format!("RETR {number}"))?;
        if !reply.starts_with("+OK") {
            // Another session may have removed it.
            continue;
        }
        let mut token = None;
        loop {
            let line = pop.read()?;
            if line == "." {
                break;
            }
            token = token.or_else(|| line.strip_prefix("Subject: ").map(str::to_owned));
        }
        let Some(token) = token else { return wrong(format!("message {number} has no subject")) };
        if !is_kept(&token) && random.percent(60) {
            world.state().popped.insert(token.clone());
            if pop.ask(&format!("DELE {number}"))?.starts_with("+OK") {
                deleted.push(token);
            }
        }
    }
    let reply = pop.ask("QUIT")?;
    if reply.starts_with("+OK") || reply.starts_with("-ERR") {
        Ok(())
    } else {
        wrong(format!("QUIT: {reply}"))
    }
}
