//! The command line of `sendmail`.

use thiserror::Error;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Take a message from standard input and deliver it (`-bm`).
    Deliver,
    /// Speak SMTP on standard input and output (`-bs`).
    Smtp,
    /// Show the queue (`-bp`, or called `mailq`).
    Queue,
    /// Try what is in the queue now (`-q`).
    Flush,
    /// Make the alias database anew (`-bi`, or called `newaliases`).
    Aliases,
    /// Tell where mail to the recipients would go (`-bv`).
    Verify,
    /// Something that this program is not (`-bd` and the like).
    Other(char),
}

/// When the sender wants to hear of the message (`-N`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it cannot be.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// What is to be done.
    pub mode: Mode,
    /// The sender (`-f`, `-r`); empty or `<>` is the null sender. `None`: whoever runs the command.
    pub sender: Option<String>,
    /// The sender's full name (`-F`).
    pub full_name: Option<String>,
    /// The header names recipients (`-t`).
    pub read_recipients: bool,
    /// A line with nothing but a dot does not end the message (`-i`, `-oi`).
    pub ignore_dots: bool,
    /// Tell what happens (`-v`).
    pub verbose: bool,
    /// When to tell the sender; `None`: as usual.
    pub notify: Option<Notify>,
    /// Whether a failure notice brings back all of the message (`-R`); `None`: as usual.
    pub full: Option<bool>,
    /// The sender's name for the transaction (`-V`).
    pub envid: Option<String>,
    /// The recipients, as typed.
    pub recipients: Vec<String>,
}

/// The command line is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Usage {
    /// No such option.
    #[error("there is no option -{0}")]
    Unknown(char),
    /// An option without its value.
    #[error("option -{0} needs a value")]
    Missing(char),
    /// A value that the option does not take.
    #[error("option -{0} does not take {1:?}")]
    Value(char, String),
}

/// Options with a value. Sendmail's own list, and Postfix's: where only one of them knows an option it is understood all
/// the same.
const WITH_VALUE: &str = "ABCDFLMNOPRVXbefhopr";
/// Options without one. `-q` and `-d` have theirs, if any, attached.
const ALONE: &str = "GIUcdiJnmqstvwxE";

impl Arguments {
    /// Reads the arguments that follow `program`, the name it was called by.
    pub fn parse(program: &str, arguments: &[String]) -> Result<Arguments, Usage> {
        let mut out = Arguments {
            mode: match program {
                "mailq" => Mode::Queue,
                "newaliases" => Mode::Aliases,
                _ => Mode::Deliver,
            },
            sender: None,
            full_name: None,
            read_recipients: false,
            ignore_dots: false,
            verbose: false,
            notify: None,
            full: None,
            envid: None,
            recipients: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                out.recipients.extend(rest.by_ref().cloned());
            } else if let Some(options) = argument.strip_prefix('-').filter(|options| !options.is_empty()) {
                out.options(options, &mut rest)?;
            } else {
                // As getopt has it in mail programs of all ages, options may follow recipients.
                out.recipients.push(argument.clone());
            }
        }
        Ok(out)
    }

    fn options(&mut self, options: &str, rest: &mut std::slice::Iter<'_, String>) -> Result<(), Usage> {
        let mut chars = options.chars();
        while let Some(option) = chars.next() {
            if WITH_VALUE.contains(option) {
                let attached = chars.as_str();
                let value = match attached.is_empty() {
                    false => attached.to_owned(),
                    true => rest.next().ok_or(Usage::Missing(option))?.clone(),
                };
                return self.valued(option, value);
            }
            if !ALONE.contains(option) {
                return Err(Usage::Unknown(option));
            }
            match option {
                't' => self.read_recipients = true,
                'i' => self.ignore_dots = true,
                'v' => self.verbose = true,
                'I' => self.mode = Mode::Aliases,
                // How often, or which part of the queue, does not matter: all of it is tried.
                'q' => {
                    self.mode = Mode::Flush;
                    return Ok(());
                }
                'd' => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn valued(&mut self, option: char, value: String) -> Result<(), Usage> {
        match option {
            'f' | 'r' => self.sender = Some(value),
            'F' => self.full_name = Some(value),
            'V' => self.envid = Some(value),
            'N' => self.notify = Some(notify(&value).ok_or(Usage::Value('N', value))?),
            'R' => {
                self.full = Some(match value.to_ascii_lowercase().as_str() {
                    "full" => true,
                    "hdrs" => false,
                    _ => return Err(Usage::Value('R', value)),
                });
            }
            'b' => {
                self.mode = match value.as_str() {
                    "m" => Mode::Deliver,
                    "s" => Mode::Smtp,
                    "p" | "P" => Mode::Queue,
                    "i" => Mode::Aliases,
                    "v" => Mode::Verify,
                    _ => Mode::Other(value.chars().next().unwrap_or('b')),
                };
            }
            // Of the settings that may be given so, one is about the message.
            'o' if value == "i" => self.ignore_dots = true,
            'O' if value.eq_ignore_ascii_case("IgnoreDots")
                || value.eq_ignore_ascii_case("IgnoreDots=true") =>
            {
                self.ignore_dots = true;
            }
            // What the body is made of shows in it.
            _ => {}
        }
        Ok(())
    }
}

/// `never`, or some of `success`, `failure` and `delay`.
fn notify(text: &str) -> Option<Notify> {
    let mut notify = Notify::default();
    if text.eq_ignore_ascii_case("never") {
        return Some(notify);
    }
    for word in text.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(line: &str) -> Result<Arguments, Usage> {
        let mut words = line.split(' ').map(str::to_owned);
        let program = words.next().unwrap();
        Arguments::parse(&program, &words.collect::<Vec<_>>())
    }

    #[test]
    fn programs_call_it_as_they_always_did() {
        let plain = parse("sendmail").unwrap();
        let to = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (line, expected) in [
            // cron
            (
                "sendmail -FCronDaemon -i -B8BITMIME -oem root",
                Arguments {
                    full_name: Some("CronDaemon".into()),
                    ignore_dots: true,
                    recipients: to(&["root"]),
                    ..plain.clone()
                },
            ),
            // PHP
            (
                "sendmail -t -i -f www@example.org",
                Arguments {
                    read_recipients: true,
                    ignore_dots: true,
                    sender: Some("www@example.org".into()),
                    ..plain.clone()
                },
            ),
            // mutt
            (
                "sendmail -oem -oi -falice@example.org -N failure,delay -R hdrs -- bob@example.org -carol",
                Arguments {
                    ignore_dots: true,
                    sender: Some("alice@example.org".into()),
                    notify: Some(Notify { success: false, failure: true, delay: true }),
                    full: Some(false),
                    recipients: to(&["bob@example.org", "-carol"]),
                    ..plain.clone()
                },
            ),
            // logcheck, smartd and others
            (
                "sendmail -odb -oem -O DeliveryMode=b -ti -V id1 -N never",
                Arguments {
                    read_recipients: true,
                    ignore_dots: true,
                    envid: Some("id1".into()),
                    notify: Some(Notify::default()),
                    ..plain.clone()
                },
            ),
            ("sendmail bob -v", Arguments { verbose: true, recipients: to(&["bob"]), ..plain.clone() }),
            ("sendmail -bm -G -L label bob", Arguments { recipients: to(&["bob"]), ..plain.clone() }),
            ("sendmail -bs", Arguments { mode: Mode::Smtp, ..plain.clone() }),
            ("sendmail -q30m", Arguments { mode: Mode::Flush, ..plain.clone() }),
            ("sendmail -bd -q30m", Arguments { mode: Mode::Flush, ..plain.clone() }),
            ("sendmail -bd", Arguments { mode: Mode::Other('d'), ..plain.clone() }),
            ("mailq -v", Arguments { mode: Mode::Queue, verbose: true, ..plain.clone() }),
            ("newaliases", Arguments { mode: Mode::Aliases, ..plain.clone() }),
            (
                "sendmail -bv bob",
                Arguments { mode: Mode::Verify, recipients: vec!["bob".into()], ..plain.clone() },
            ),
        ] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_nobody_means_is_refused() {
        for (line, why) in [
            ("sendmail -Z", Usage::Unknown('Z')),
            ("sendmail --help", Usage::Unknown('-')),
            ("sendmail -f", Usage::Missing('f')),
            ("sendmail -N sometimes bob", Usage::Value('N', "sometimes".into())),
            ("sendmail -R all bob", Usage::Value('R', "all".into())),
        ] {
            assert_eq!(parse(line).unwrap_err(), why, "{line}");
        }
    }
}
