//! From a command to the line that says it.

use std::fmt::Display;

use bytes::{BufMut as _, BytesMut};
use packetboat_wire::telnet_escape;
use thiserror::Error;

use super::{Algorithm, Command, FileTime, PathName, Protection, Site, TransferMode};
use crate::command::AddressFamily;

/// Why a command cannot be said: a word of it would end the line, or say something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a word of the command is empty, or holds a line end")]
pub struct Unsayable;

impl Command {
    /// The word that it begins with.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::User(_) => "USER",
            Command::Pass(_) => "PASS",
            Command::Acct(_) => "ACCT",
            Command::Cwd(_) => "CWD",
            Command::Cdup => "CDUP",
            Command::Smnt(_) => "SMNT",
            Command::Rein => "REIN",
            Command::Quit => "QUIT",
            Command::Port(_) => "PORT",
            Command::Eprt(_) => "EPRT",
            Command::Lprt(_) => "LPRT",
            Command::Pasv => "PASV",
            Command::Epsv(_) | Command::EpsvAll => "EPSV",
            Command::Lpsv => "LPSV",
            Command::Type(_) => "TYPE",
            Command::Stru(_) => "STRU",
            Command::Mode(_) => "MODE",
            Command::Retr(_) => "RETR",
            Command::Stor(_) => "STOR",
            Command::Stou(_) => "STOU",
            Command::Appe(_) => "APPE",
            Command::Allo { .. } => "ALLO",
            Command::Rest(_) => "REST",
            Command::Rang(..) => "RANG",
            Command::Rnfr(_) => "RNFR",
            Command::Rnto(_) => "RNTO",
            Command::Abor => "ABOR",
            Command::Dele(_) => "DELE",
            Command::Rmd(_) => "RMD",
            Command::Mkd(_) => "MKD",
            Command::Pwd => "PWD",
            Command::List(_) => "LIST",
            Command::Nlst(_) => "NLST",
            Command::Mlsd(_) => "MLSD",
            Command::Mlst(_) => "MLST",
            Command::Site(_) => "SITE",
            Command::Syst => "SYST",
            Command::Stat(_) => "STAT",
            Command::Help(_) => "HELP",
            Command::Noop => "NOOP",
            Command::Feat => "FEAT",
            Command::Opts(..) => "OPTS",
            Command::Size(_) => "SIZE",
            Command::Mdtm(_) => "MDTM",
            Command::Mfmt(..) => "MFMT",
            Command::Mfct(..) => "MFCT",
            Command::Mff(..) => "MFF",
            Command::Hash(_) => "HASH",
            Command::Checksum { algorithm: Algorithm::Crc32, .. } => "XCRC",
            Command::Checksum { algorithm: Algorithm::Md5, .. } => "XMD5",
            Command::Checksum { algorithm: Algorithm::Sha1, .. } => "XSHA1",
            Command::Checksum { algorithm: Algorithm::Sha256, .. } => "XSHA256",
            Command::Checksum { algorithm: Algorithm::Sha512, .. } => "XSHA512",
            Command::Avbl(_) => "AVBL",
            Command::Comb(..) => "COMB",
            Command::Clnt(_) => "CLNT",
            Command::Csid(_) => "CSID",
            Command::Lang(_) => "LANG",
            Command::Host(_) => "HOST",
            Command::Auth(_) => "AUTH",
            Command::Adat => "ADAT",
            Command::Pbsz(_) => "PBSZ",
            Command::Prot(_) => "PROT",
            Command::Ccc => "CCC",
            Command::Protected => "MIC",
        }
    }

    /// Appends the command's line, its CRLF included. Nothing is appended if it cannot be said.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), Unsayable> {
        let mut argument = Vec::new();
        self.argument(&mut argument)?;
        if argument.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
            return Err(Unsayable);
        }
        out.put_slice(self.verb().as_bytes());
        if !argument.is_empty() {
            out.put_u8(b' ');
            telnet_escape(&argument, out);
        }
        out.put_slice(b"\r\n");
        Ok(())
    }

    /// What stands behind the verb and a space.
    fn argument(&self, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        match self {
            Command::User(text)
            | Command::Acct(text)
            | Command::Rest(text)
            | Command::Clnt(text)
            | Command::Csid(text)
            | Command::Host(text)
            | Command::Auth(text) => word(text, out)?,
            Command::Pass(password) => out.put_slice(password.expose().as_bytes()),
            Command::Cwd(path)
            | Command::Smnt(path)
            | Command::Retr(path)
            | Command::Stor(path)
            | Command::Appe(path)
            | Command::Rnfr(path)
            | Command::Rnto(path)
            | Command::Dele(path)
            | Command::Rmd(path)
            | Command::Mkd(path)
            | Command::Size(path)
            | Command::Hash(path) => out.put_slice(path.as_bytes()),
            Command::Stou(path)
            | Command::List(path)
            | Command::Nlst(path)
            | Command::Mlsd(path)
            | Command::Mlst(path)
            | Command::Stat(path)
            | Command::Avbl(path) => {
                if let Some(path) = path {
                    out.put_slice(path.as_bytes());
                }
            }
            Command::Help(text) | Command::Lang(text) => {
                if let Some(text) = text {
                    word(text, out)?;
                }
            }
            Command::Port(at) | Command::Lprt(at) | Command::Eprt(at) => self.address(*at, out)?,
            Command::Epsv(None) => {}
            Command::Epsv(Some(AddressFamily::V4)) => show(1, out),
            Command::Epsv(Some(AddressFamily::V6)) => show(2, out),
            Command::EpsvAll => show("ALL", out),
            Command::Type(ty) => show(ty, out),
            Command::Stru(structure) => show(structure, out),
            Command::Mode(TransferMode::Standard(mode)) => show(mode, out),
            Command::Mode(TransferMode::Deflate) => show("Z", out),
            Command::Allo { bytes, record: None } => show(bytes, out),
            Command::Allo { bytes, record: Some(record) } => show(format_args!("{bytes} R {record}"), out),
            Command::Rang(first, last) => show(format_args!("{first} {last}"), out),
            Command::Mdtm(path) => {
                // `MDTM time path` sets a time; `./` keeps a name apart from one (see `parse`).
                if FileTime::parse(path.to_text().split(' ').next().unwrap_or_default()).is_some() {
                    out.put_slice(b"./");
                }
                out.put_slice(path.as_bytes());
            }
            Command::Mfmt(time, path) | Command::Mfct(time, path) => timed(*time, path, out),
            Command::Mff(facts, path) => {
                for fact in facts {
                    show(format_args!("{fact};"), out);
                }
                if facts.is_empty() {
                    return Err(Unsayable);
                }
                out.put_u8(b' ');
                out.put_slice(path.as_bytes());
            }
            Command::Checksum { path, start: None, end: None, .. }
                if path.as_bytes().first() != Some(&b'"') =>
            {
                out.put_slice(path.as_bytes());
            }
            Command::Checksum { path, start, end, .. } => {
                quoted(path, out);
                if start.is_some() || end.is_some() {
                    show(format_args!(" {}", start.unwrap_or(0)), out);
                }
                if let Some(end) = end {
                    show(format_args!(" {end}"), out);
                }
            }
            Command::Comb(target, sources) => {
                quoted(target, out);
                for source in sources {
                    out.put_u8(b' ');
                    quoted(source, out);
                }
            }
            Command::Opts(command, parameters) => {
                word(command, out)?;
                if let Some(parameters) = parameters {
                    out.put_u8(b' ');
                    word(parameters, out)?;
                }
            }
            Command::Pbsz(size) => show(size, out),
            Command::Prot(level) => show(
                match level {
                    Protection::Clear => "C",
                    Protection::Safe => "S",
                    Protection::Confidential => "E",
                    Protection::Private => "P",
                },
                out,
            ),
            Command::Site(site) => site.encode(out)?,
            // What this side never says, for it has no mechanism that needs it.
            Command::Adat | Command::Protected => return Err(Unsayable),
            Command::Cdup
            | Command::Rein
            | Command::Quit
            | Command::Pasv
            | Command::Lpsv
            | Command::Abor
            | Command::Pwd
            | Command::Syst
            | Command::Noop
            | Command::Feat
            | Command::Ccc => {}
        }
        Ok(())
    }

    fn address(&self, at: std::net::SocketAddr, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        let argument = match self {
            Command::Port(_) => super::address::port_argument(at),
            Command::Lprt(_) => Some(super::address::lprt_argument(at)),
            _ => Some(super::address::eprt_argument(at)),
        };
        show(argument.ok_or(Unsayable)?, out);
        Ok(())
    }
}

impl Site {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        match self {
            Site::Help(None) => show("HELP", out),
            Site::Help(Some(text)) => {
                show("HELP ", out);
                word(text, out)?;
            }
            Site::Chmod(mode, path) => {
                show(format_args!("CHMOD {mode:o} "), out);
                out.put_slice(path.as_bytes());
            }
            Site::Umask(None) => show("UMASK", out),
            Site::Umask(Some(mask)) => show(format_args!("UMASK {mask:03o}"), out),
            Site::Idle(None) => show("IDLE", out),
            Site::Idle(Some(seconds)) => show(format_args!("IDLE {seconds}"), out),
            Site::Utime(time, path) => {
                show("UTIME ", out);
                timed(*time, path, out);
            }
            Site::Symlink(target, link) => two("SYMLINK", target, link, out),
            Site::Copy(from, to) => two("COPY", from, to, out),
            Site::CopyFrom(path) => one("CPFR", path, out),
            Site::CopyTo(path) => one("CPTO", path, out),
            Site::Mkdir(path) => one("MKDIR", path, out),
            Site::Rmdir(path) => one("RMDIR", path, out),
            Site::Quota => show("QUOTA", out),
            Site::Who => show("WHO", out),
            Site::CodePage(number) => {
                show("CODEPAGE ", out);
                word(number, out)?;
            }
            Site::RecordLength(octets) => show(format_args!("LRECL {octets}"), out),
        }
        Ok(())
    }
}

fn show(value: impl Display, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Text that is there, and has no space around it that the other side would drop.
fn word(text: &str, out: &mut Vec<u8>) -> Result<(), Unsayable> {
    if text.is_empty() || text.trim() != text {
        return Err(Unsayable);
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn timed(time: FileTime, path: &PathName, out: &mut Vec<u8>) {
    show(time, out);
    if time.nanoseconds > 0 {
        show(format_args!(".{:09}", time.nanoseconds), out);
    }
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
}

fn one(verb: &str, path: &PathName, out: &mut Vec<u8>) {
    show(format_args!("{verb} "), out);
    out.extend_from_slice(path.as_bytes());
}

fn two(verb: &str, first: &PathName, second: &PathName, out: &mut Vec<u8>) {
    show(format_args!("{verb} "), out);
    quoted(first, out);
    out.push(b' ');
    quoted(second, out);
}

/// In quotation marks, of which one within is doubled.
fn quoted(path: &PathName, out: &mut Vec<u8>) {
    out.push(b'"');
    for octet in path.as_bytes() {
        if *octet == b'"' {
            out.push(b'"');
        }
        out.push(*octet);
    }
    out.push(b'"');
}
