//! How transfers are to be: TYPE, STRU, MODE, OPTS, and where data connections go.

use std::net::{IpAddr, SocketAddr};

use super::{Asked, Connection, Event, Passive, Server, help};
use crate::command::{
    AddressFamily, Algorithm, Command, Site, TransferMode, epsv_answer, lpsv_answer, pasv_answer,
};
use crate::data::CodePage;
use crate::reply;

impl Server {
    pub(super) fn parameter(&mut self, command: Command) {
        match command {
            Command::Type(ty) => {
                self.settings.representation.ty = ty;
                self.say(&reply::set(format!("TYPE is now {ty}.")));
            }
            Command::Stru(structure) => {
                self.settings.representation.structure = structure;
                self.say(&reply::set(format!("STRU is now {structure}.")));
            }
            Command::Mode(TransferMode::Standard(mode)) => {
                self.settings.representation.mode = mode;
                self.settings.deflate = false;
                self.say(&reply::set(format!("MODE is now {mode}.")));
            }
            Command::Mode(TransferMode::Deflate) => {
                self.settings.representation.mode = crate::data::Mode::Stream;
                self.settings.deflate = true;
                self.say(&reply::set("MODE is now Z.".to_owned()));
            }
            Command::Opts(command, parameters) => self.options(&command, parameters.as_deref()),
            Command::EpsvAll => {
                self.settings.epsv_all = true;
                self.say(&reply::set("EPSV ALL understood.".to_owned()));
            }
            Command::Pasv => self.passive(Passive::Pasv),
            Command::Lpsv => self.passive(Passive::Lpsv),
            Command::Epsv(family) => self.passive(Passive::Epsv(family)),
            Command::Port(at) | Command::Eprt(at) | Command::Lprt(at) => {
                if self.settings.epsv_all {
                    return self.say(&reply::epsv_only());
                }
                self.ask(Asked::Connect(at), Event::Connect(at));
            }
            Command::Site(Site::Umask(mask)) => {
                let before = self.settings.umask;
                self.settings.umask = mask.or(before);
                let said = self.settings.umask.map_or("the site's".to_owned(), |mask| format!("{mask:03o}"));
                self.say(&reply::set(format!("UMASK is {said}.")));
            }
            Command::Site(Site::Idle(None)) => {
                self.say(&reply::set(format!("IDLE is {} seconds.", self.idle.as_secs())));
            }
            Command::Site(Site::Idle(Some(seconds))) => {
                let wanted = std::time::Duration::from_secs(seconds);
                if seconds < 30 || wanted > self.config.timeouts.idle_max {
                    return self
                        .say(&reply::invalid_parameter("IDLE takes 30 seconds up to what the site allows."));
                }
                self.idle = wanted;
                self.say(&reply::set(format!("IDLE is {seconds} seconds.")));
            }
            Command::Site(Site::CodePage(number)) => match number.parse::<CodePage>() {
                Ok(page) => {
                    self.settings.options.code_page = page;
                    self.say(&reply::set(format!("TYPE E is code page {page}.")));
                }
                Err(_) => self
                    .say(&reply::invalid_parameter("No such EBCDIC code page; try 037, 500, 1047 or 1140.")),
            },
            Command::Site(Site::RecordLength(octets)) => {
                self.settings.options.record_octets = (octets > 0).then_some(octets);
                self.say(&reply::set(match octets {
                    0 => "A file without records is one record.".to_owned(),
                    octets => format!("A record is {octets} octets."),
                }));
            }
            _ => self.say(&reply::not_implemented()),
        }
    }

    fn passive(&mut self, how: Passive) {
        if self.settings.epsv_all && !matches!(how, Passive::Epsv(_)) {
            return self.say(&reply::epsv_only());
        }
        // The owner gives up a data connection that is open for the new one.
        self.settings.open = false;
        self.ask(Asked::Listen(how), Event::Listen(how));
    }

    /// Here is listened for the data connection: the address is what the client is told.
    pub fn listening(&mut self, announced: SocketAddr) {
        let Some(Asked::Listen(how)) = self.asked.take() else { return };
        self.settings.connection = Connection::Passive;
        let answer = match how {
            Passive::Pasv => {
                pasv_answer(announced).map_or_else(reply::cannot_connect, |at| reply::passive(&at))
            }
            Passive::Epsv(family) => {
                let is_v4 = matches!(announced.ip().to_canonical(), IpAddr::V4(_));
                match family {
                    Some(AddressFamily::V4) if !is_v4 => reply::family_is_v6(),
                    Some(AddressFamily::V6) if is_v4 => reply::family_is_v4(),
                    _ => reply::extended_passive(&epsv_answer(announced.port())),
                }
            }
            Passive::Lpsv => reply::long_passive(&lpsv_answer(announced)),
        };
        self.say(&answer);
    }

    pub(super) fn connects(&mut self, at: SocketAddr) {
        self.settings.connection = Connection::Active(at);
        if std::mem::take(&mut self.settings.open) {
            self.event = Some(Event::CloseData);
        }
        self.say(&reply::ok());
    }

    fn options(&mut self, command: &str, parameters: Option<&str>) {
        let said = match (command, parameters) {
            // Names are in UTF-8 whatever is asked for; clients that ask are told so (RFC 2640).
            ("UTF8" | "UTF-8", None | Some("ON" | "on" | "NLST")) => Ok("UTF8 is on.".to_owned()),
            ("MLST", parameters) => {
                let wanted: Vec<String> = parameters
                    .unwrap_or_default()
                    .split(';')
                    .map(|fact| fact.trim().to_ascii_lowercase())
                    .collect();
                let facts = help::FACTS.iter().filter(|fact| wanted.contains(&fact.to_ascii_lowercase()));
                self.settings.facts = facts.copied().collect();
                let chosen: String = self.settings.facts.iter().map(|fact| format!("{fact};")).collect();
                Ok(format!("MLST OPTS {chosen}"))
            }
            ("HASH", None) => Ok(self.settings.hash.name().to_owned()),
            ("HASH", Some(name)) => match Algorithm::named(name) {
                Some(algorithm) => {
                    self.settings.hash = algorithm;
                    Ok(algorithm.name().to_owned())
                }
                None => Err("This algorithm is not known; FEAT lists those that are."),
            },
            ("MODE", Some(parameters)) if parameters.to_ascii_uppercase().starts_with("Z ") => {
                let level = parameters[2..].trim().to_ascii_uppercase();
                match level.strip_prefix("LEVEL ").and_then(|level| level.trim().parse::<u32>().ok()) {
                    Some(level @ 1..=9) => Ok(format!("MODE Z LEVEL set to {level}.")),
                    _ => Err("MODE Z has LEVEL 1 to 9."),
                }
            }
            _ => Err("This command has no such option."),
        };
        match said {
            Ok(said) => self.say(&reply::set(said)),
            Err(wrong) => self.say(&reply::invalid_argument(wrong)),
        }
    }
}
