//! Commands find their part of the session; actions on files and what they are answered.

use super::{Answer, Asked, Event, Login, Refusal, Request, Server, refusal};
use crate::command::{Command, Site};
use crate::reply::{self, Information};

impl Server {
    pub(super) fn carry_out(&mut self, command: Command) {
        // What was announced is for the command that follows at once, and for those that only prepare it.
        let keeps_announced = matches!(
            command,
            Command::Retr(_)
                | Command::Stor(_)
                | Command::Stou(_)
                | Command::Appe(_)
                | Command::List(_)
                | Command::Nlst(_)
                | Command::Mlsd(_)
                | Command::Hash(_)
                | Command::Port(_)
                | Command::Eprt(_)
                | Command::Lprt(_)
                | Command::Pasv
                | Command::Epsv(_)
                | Command::Lpsv
                | Command::Type(_)
                | Command::Rest(_)
                | Command::Rang(..)
                | Command::Allo { .. }
                | Command::Noop
        );
        if !keeps_announced {
            self.settings.restart = None;
            self.settings.range = None;
        }
        // "This command must be immediately followed by a RNTO" (RFC 959 section 4.1.3). What a client says to stay or to
        // look does not count, as for ProFTPD; vsftpd goes on whatever comes.
        let keeps_renaming =
            matches!(command, Command::Rnto(_) | Command::Noop | Command::Help(_) | Command::Stat(None));
        if !keeps_renaming {
            self.settings.rename_from = None;
        }
        let needs_login = !matches!(
            command,
            Command::User(_)
                | Command::Pass(_)
                | Command::Acct(_)
                | Command::Host(_)
                | Command::Auth(_)
                | Command::Adat
                | Command::Pbsz(_)
                | Command::Prot(_)
                | Command::Ccc
                | Command::Protected
                | Command::Quit
                | Command::Rein
                // RFC 959 section 5.4 has no 530 for ABOR: there is nothing to abort, which is no secret.
                | Command::Abor
                | Command::Noop
                | Command::Help(_)
                | Command::Feat
                | Command::Opts(..)
                | Command::Clnt(_)
                | Command::Csid(_)
                | Command::Lang(_)
                | Command::Syst
        );
        if needs_login && self.login != Login::In {
            return self.say(&reply::not_logged_in());
        }
        match command {
            Command::Quit if self.transfer.is_some() => self.phase = super::Phase::Leaving,
            Command::Quit => self.end(reply::goodbye()),
            Command::Noop => self.say(&reply::noop()),
            Command::User(_)
            | Command::Pass(_)
            | Command::Acct(_)
            | Command::Host(_)
            | Command::Rein
            | Command::Auth(_)
            | Command::Adat
            | Command::Protected
            | Command::Pbsz(_)
            | Command::Prot(_)
            | Command::Ccc => self.access(command),
            Command::Type(_)
            | Command::Stru(_)
            | Command::Mode(_)
            | Command::Opts(..)
            | Command::EpsvAll
            | Command::Pasv
            | Command::Epsv(_)
            | Command::Lpsv
            | Command::Port(_)
            | Command::Eprt(_)
            | Command::Lprt(_)
            | Command::Site(Site::Umask(_) | Site::Idle(_) | Site::CodePage(_) | Site::RecordLength(_)) => {
                self.parameter(command);
            }
            Command::Retr(_)
            | Command::Stor(_)
            | Command::Stou(_)
            | Command::Appe(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
            | Command::Rest(_)
            | Command::Rang(..)
            | Command::Allo { .. }
            | Command::Abor
            | Command::Stat(None) => self.transfer_command(command),
            Command::Syst
            | Command::Help(_)
            | Command::Feat
            | Command::Clnt(_)
            | Command::Csid(_)
            | Command::Lang(_)
            | Command::Site(Site::Help(_)) => self.information(command),
            _ => self.action(command),
        }
    }

    fn action(&mut self, command: Command) {
        let request = match &command {
            Command::Cwd(path) => Request::ChangeDirectory(path.clone()),
            Command::Cdup => Request::ParentDirectory,
            Command::Smnt(path) => Request::Mount(path.clone()),
            Command::Pwd => Request::WorkingDirectory,
            Command::Mkd(path) => Request::MakeDirectory(path.clone()),
            Command::Rmd(path) => Request::RemoveDirectory(path.clone()),
            Command::Dele(path) => Request::Delete(path.clone()),
            Command::Rnfr(path) => Request::RenameFrom(path.clone()),
            Command::Rnto(to) => match self.settings.rename_from.take() {
                Some(from) => Request::Rename(from, to.clone()),
                None => return self.say(&reply::rename_from_first()),
            },
            Command::Size(path) => {
                Request::Size(path.clone(), self.settings.representation, self.settings.options.clone())
            }
            Command::Mdtm(path) => Request::ModificationTime(path.clone()),
            Command::Mfmt(time, path) | Command::Site(Site::Utime(time, path)) => {
                Request::SetModificationTime(path.clone(), *time)
            }
            Command::Mfct(time, path) => Request::SetCreationTime(path.clone(), *time),
            Command::Mff(facts, path) => Request::SetFacts(path.clone(), facts.clone()),
            Command::Mlst(path) => Request::Facts(path.clone()),
            Command::Stat(Some(path)) => Request::Status(path.clone()),
            Command::Hash(path) => {
                let (start, end) =
                    self.settings.range.take().map_or((0, None), |(from, to)| (from, to.checked_add(1)));
                Request::Checksum { algorithm: self.settings.hash, path: path.clone(), start, end }
            }
            Command::Checksum { algorithm, path, start, end } => {
                let (algorithm, start, end) = (*algorithm, start.unwrap_or(0), *end);
                Request::Checksum { algorithm, path: path.clone(), start, end }
            }
            Command::Avbl(path) => Request::Available(path.clone()),
            Command::Comb(target, sources) => Request::Combine(target.clone(), sources.clone()),
            Command::Site(Site::Chmod(mode, path)) => Request::ChangeMode(path.clone(), *mode),
            Command::Site(Site::Symlink(target, link)) => {
                Request::SymbolicLink { target: target.clone(), link: link.clone() }
            }
            Command::Site(Site::Copy(from, to)) => Request::Copy(from.clone(), to.clone()),
            Command::Site(Site::CopyFrom(from)) => Request::CopyFrom(from.clone()),
            Command::Site(Site::CopyTo(to)) => match self.settings.copy_from.take() {
                Some(from) => Request::Copy(from, to.clone()),
                None => return self.say(&reply::bad_sequence()),
            },
            Command::Site(Site::Mkdir(path)) => Request::MakeDirectories(path.clone()),
            Command::Site(Site::Rmdir(path)) => Request::RemoveTree(path.clone()),
            Command::Site(Site::Quota) => Request::Quota,
            Command::Site(Site::Who) => Request::Who,
            _ => return self.say(&reply::not_implemented()),
        };
        self.ask(Asked::Request(command), Event::Request(request));
    }

    /// The action was carried out, and this came of it.
    pub fn answer(&mut self, answer: Answer) {
        match self.asked.take() {
            Some(Asked::Request(command)) => {
                let said = self.action_reply(command, answer);
                self.say(&said);
                self.tell_aborted();
            }
            Some(Asked::Progress) => {
                let lines = if let Answer::Lines(lines) = answer { lines } else { Vec::new() };
                let mut status = self.status();
                status.splice(1..1, lines);
                self.say(&reply::lines(Information::System, status));
            }
            other => self.asked = other,
        }
    }

    /// ABOR has a reply of its own, after that of the action it was for, whether that was carried out before or not.
    fn tell_aborted(&mut self) {
        if std::mem::take(&mut self.aborting) {
            self.say(&reply::aborted());
        }
    }

    fn action_reply(&mut self, command: Command, answer: Answer) -> packetboat_wire::Reply {
        match (command, answer) {
            // "The reply codes shall be identical to the reply codes of CWD", says the text, and the table 200.
            (Command::Cdup, _) => reply::done("Directory changed."),
            (Command::Cwd(_), _) => reply::done("Directory changed."),
            (Command::Smnt(_), _) => reply::done("Mounted."),
            (Command::Pwd, Answer::Directory(path)) => reply::path(&path, "is the current directory."),
            (Command::Mkd(_) | Command::Site(Site::Mkdir(_)), Answer::Directory(path)) => {
                reply::path(&path, "created.")
            }
            (Command::Rnfr(path), _) => {
                self.settings.rename_from = Some(path);
                reply::go_on("File exists, ready for the destination name.".to_owned())
            }
            (Command::Site(Site::CopyFrom(path)), _) => {
                self.settings.copy_from = Some(path);
                reply::go_on("File exists, ready for the destination name.".to_owned())
            }
            (Command::Allo { .. }, _) => reply::ok(),
            (Command::Rnto(_), _) => reply::done("Renamed."),
            (Command::Dele(_), _) => reply::done("Deleted."),
            (Command::Rmd(_), _) => reply::done("Directory removed."),
            (Command::Comb(..), _) => reply::done("Files put together."),
            (Command::Checksum { .. }, Answer::Checksum { digest, .. }) => reply::checksum(digest),
            (Command::Hash(path), Answer::Checksum { digest, start, end }) => {
                let algorithm = self.settings.hash.name();
                reply::value(format!("{algorithm} {start}-{end} {digest} {}", path.to_text()))
            }
            (Command::Mfmt(time, path), _) => reply::value(format!("Modify={time}; {}", path.to_text())),
            (Command::Mfct(time, path), _) => reply::value(format!("Create={time}; {}", path.to_text())),
            (Command::Mff(facts, path), _) => {
                let facts: String = facts.iter().map(|fact| format!("{fact};")).collect();
                reply::value(format!("{facts} {}", path.to_text()))
            }
            (Command::Mlst(_), Answer::Lines(lines)) => {
                let mut said = vec!["Begin of listing".to_owned()];
                said.extend(lines);
                said.push("End of listing".to_owned());
                reply::lines(Information::Facts, said)
            }
            (Command::Site(_), Answer::Lines(lines)) => reply::lines(Information::Done, lines),
            (Command::Site(_), _) => reply::ok(),
            (_, Answer::Number(number)) => reply::value(number),
            (_, Answer::Time(time)) => reply::value(time),
            (_, Answer::Lines(lines)) => reply::lines(Information::File, lines),
            (_, Answer::Directories(lines)) => reply::lines(Information::Directory, lines),
            _ => reply::done("Done."),
        }
    }

    /// Yes, to a question that takes one.
    pub fn accept(&mut self) {
        match self.asked.take() {
            Some(Asked::Connect(at)) => self.connects(at),
            Some(asked @ (Asked::Host | Asked::User | Asked::Account)) => self.accept_access(&asked),
            Some(asked @ Asked::Request(_)) => {
                self.asked = Some(asked);
                self.answer(Answer::Done);
            }
            other => self.asked = other,
        }
    }

    /// No.
    pub fn refuse(&mut self, why: Refusal) {
        let Some(asked) = self.asked.take() else { return };
        match &asked {
            Asked::Host | Asked::User | Asked::Password | Asked::Account => self.refuse_access(&asked, &why),
            Asked::Listen(how) => self.say(&refusal::of_listen(*how, &why)),
            Asked::Connect(at) => self.say(&refusal::of_connect(*at, &why)),
            Asked::Request(command) => {
                self.say(&refusal::of_action(command, &why));
                self.tell_aborted();
            }
            Asked::Transfer => {
                // An open data connection that the client has closed meanwhile is none.
                self.settings.open &= why != Refusal::CannotListen;
                self.forget_announced();
                let answer = refusal::of_transfer(&why);
                self.say(&answer);
            }
            Asked::Progress => self.answer(Answer::Done),
        }
    }
}
