//! `packetboat sendmail`, also when it is called `sendmail`, `mailq` or `newaliases`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use packetboat_client::sendmail::{Arguments, Content, Home, Message, MessageError, Mode};
use packetboat_server::admin::{AdminError, ErrorKind};
use packetboat_server::local::{self, Counter, Envelope, HandedIn, Names, Rcpt, stdio};
use packetboat_server::settings::{Settings, SettingsError};

use super::manage::runtime;
use super::serve::ConfigArg;
use super::{fail, sysexits};

/// Hand in mail as programs on this machine do, in the way of the command sendmail
#[derive(Debug, Args)]
#[command(disable_help_flag = true, after_help = HELP)]
pub(crate) struct SendmailArgs {
    /// What sendmail takes: -t -i -f -F -bs -bp -q -N -R -V …, and recipients
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

const HELP: &str = "\
--config FILE or --data DIR, before all else, says which server is meant. Linked as /usr/sbin/sendmail, the program
needs no other word: ln -s /usr/local/bin/packetboat /usr/sbin/sendmail";

/// The text of `--help`.
const USAGE: &str = "\
Usage: sendmail [--config FILE | --data DIR] [-t] [-i] [-f SENDER] [-F NAME] [-N WHEN] [-R WHAT] [-V ID] [RECIPIENT]…

  (nothing), -bm  take a message from standard input
  -t              recipients are those of To, Cc and Bcc, besides those named here
  -i, -oi         a line with a dot does not end the message
  -f, -r SENDER   who sends, instead of the user who runs the command; <> is nobody
  -F NAME         the sender's full name, where the message has no From
  -N WHEN         tell the sender: never, or some of success,failure,delay
  -R WHAT         of a message that fails, bring back: full or hdrs
  -V ID           a name for notices about the message
  -v              tell what happens
  -bs             speak SMTP on standard input and output
  -bp             show the queue (mailq)
  -q              try now what is in the queue
  -bv             tell where mail to the recipients would go, and send nothing
  -bi             nothing: aliases need not be made anew (newaliases)
Other options of Sendmail and Postfix are understood and change nothing.";

pub(crate) fn run(program: &str, arguments: Vec<OsString>) -> ExitCode {
    let mut arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        return match writeln!(io::stdout(), "{USAGE}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(sysexits::IO),
        };
    }
    let place = match Place::take(&mut arguments) {
        Ok(place) => place,
        Err(error) => return fail(error.kind.code(), &error),
    };
    let arguments = match Arguments::parse(program, &arguments) {
        Ok(arguments) => arguments,
        Err(error) => return fail(sysexits::USAGE, &format!("{program}: {error}")),
    };
    let outcome = match arguments.mode {
        Mode::Deliver => deliver(&place, &arguments),
        Mode::Smtp => smtp(&place),
        Mode::Queue => return super::queue::mailq(place.config, place.data),
        Mode::Verify => return verify(&place, &arguments.recipients),
        Mode::Flush => return super::queue::flush(place.config, place.data),
        Mode::Aliases => {
            // Quiet, as scripts that install packages expect it.
            if arguments.verbose {
                say("nothing to do: aliases are changed by `packetboat alias`, and hold at once");
            }
            Ok(ExitCode::SUCCESS)
        }
        Mode::Other('d' | 'D' | 'l') => {
            Err(AdminError::new(ErrorKind::Unavailable, "the server is started by `packetboat serve`"))
        }
        Mode::Other(mode) => {
            Err(AdminError::new(ErrorKind::Usage, format!("there is no mode -b{mode} here")))
        }
    };
    outcome.unwrap_or_else(|error| fail(error.kind.code(), &error))
}

/// Which server is meant.
#[derive(Debug, Default)]
struct Place {
    config: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Place {
    /// Takes the options for it off the front.
    fn take(arguments: &mut Vec<String>) -> Result<Place, AdminError> {
        let mut place = Place {
            config: std::env::var_os("PACKETBOAT_CONFIG").map(PathBuf::from),
            data: std::env::var_os("PACKETBOAT_DATA").map(PathBuf::from),
        };
        loop {
            let is_config = match arguments.first().map(String::as_str) {
                Some("--config") => true,
                Some("--data") => false,
                _ => return Ok(place),
            };
            if arguments.len() < 2 {
                return Err(AdminError::new(ErrorKind::Usage, "--config and --data need a value"));
            }
            let value = arguments.drain(..2).nth(1).map(PathBuf::from);
            (place.config, place.data) = if is_config { (value, None) } else { (None, value) };
        }
    }

    /// The settings, as far as this user may know them.
    fn settings(&self) -> Result<Settings, AdminError> {
        if let Some(data) = &self.data {
            let mut settings = Settings::default();
            settings.general.data.clone_from(data);
            return Ok(settings);
        }
        let file = ConfigArg { config: self.config.clone() }.file();
        match Settings::load(&file) {
            Ok(settings) => Ok(settings),
            // They may hold secrets, which are not for everybody. Where things are usually, they may well be.
            Err(SettingsError::Unreadable { .. }) if Settings::default().general.data.exists() => {
                Ok(Settings::default())
            }
            Err(error) => Err(AdminError::new(ErrorKind::Config, error.to_string())),
        }
    }
}

fn deliver(place: &Place, arguments: &Arguments) -> Result<ExitCode, AdminError> {
    let settings = place.settings()?;
    let (user, full_name) = local::user();
    let home = Home { user: user.clone(), full_name, domain: Names::of(&settings).domain };
    let now = jiff::Zoned::now();
    let message = Message::read(&mut io::stdin().lock(), arguments, &home, &now, local::random_octets())
        .map_err(|error| unusable(&error, arguments))?;
    let notify = arguments.notify.map(|notify| local::notify(notify.success, notify.failure, notify.delay));
    let recipients = message.recipients.iter().map(|address| Rcpt::new(address.clone(), notify)).collect();
    let mut envelope = Envelope::new(message.sender.clone(), user);
    envelope.smtputf8 = message.needs_utf8();
    envelope.body = match message.content {
        Content::SevenBit => local::BodyKind::SevenBit,
        Content::EightBit => local::BodyKind::EightBit,
        Content::Binary => local::BodyKind::Binary,
    };
    envelope.ret = arguments.full.map(|full| if full { local::Ret::Full } else { local::Ret::Headers });
    envelope.envid.clone_from(&arguments.envid);
    let handed_in = runtime()?.block_on(async {
        let counter = Counter::open(&settings).await?;
        let handed_in = counter.hand_in(envelope, recipients, message.reader()).await;
        counter.close().await;
        handed_in
    })?;
    let HandedIn { tag, refused } = handed_in;
    if arguments.verbose {
        match tag {
            Some(tag) => say(&format!("taken as {tag}")),
            None => say("left for the server, which takes it when it runs"),
        }
    }
    for refused in &refused {
        super::complain(&format!("{}: {}", refused.address, refused.error));
    }
    Ok(refused.first().map_or(ExitCode::SUCCESS, |refused| ExitCode::from(refused.error.kind.code())))
}

/// Tells where mail would go.
fn verify(place: &Place, recipients: &[String]) -> ExitCode {
    let settings = match place.settings() {
        Ok(settings) => settings,
        Err(error) => return fail(error.kind.code(), &error),
    };
    let domain = Names::of(&settings).domain;
    let full = |name: &String| if name.contains('@') { name.clone() } else { format!("{name}@{domain}") };
    super::alias::verify(place.config.clone(), place.data.clone(), recipients.iter().map(full).collect())
}

fn smtp(place: &Place) -> Result<ExitCode, AdminError> {
    let settings = place.settings()?;
    let (user, _) = local::user();
    runtime()?.block_on(async {
        let counter = Counter::open_for_long(&settings).await?;
        let served = stdio::serve(&settings, &counter, &user, io::stdin().lock(), io::stdout().lock()).await;
        counter.close().await;
        match served {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(AdminError::new(ErrorKind::Io, error.to_string())),
        }
    })
}

fn unusable(error: &MessageError, arguments: &Arguments) -> AdminError {
    let kind = match error {
        MessageError::Nobody if !arguments.read_recipients => ErrorKind::Usage,
        MessageError::Nobody | MessageError::Address(_) | MessageError::Header => ErrorKind::Data,
        MessageError::Read(_) | MessageError::Keep(_) => ErrorKind::Io,
    };
    AdminError::new(kind, error.to_string())
}

fn say(text: &str) {
    // Where nobody reads, nobody misses it.
    let _ = writeln!(io::stdout(), "{text}");
}
