//! `packetboat init`: the first files, and what to tell the DNS.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use packetboat_server::dns::{Record, records};
use packetboat_server::server::write_private;
use packetboat_server::settings::example;
use packetboat_server::tls::generate;
use serde_json::json;

use super::{fail, sysexits};

/// Write packetboat.toml with every setting explained, make a first certificate, and print the DNS records to publish.
///
/// Nothing that is already there is overwritten.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The domain whose mail comes here, such as example.org
    #[arg(long, value_name = "NAME")]
    domain: String,
    /// This server's name in DNS [default: mail. and the domain]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Where to write packetboat.toml and the certificate
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where mail and accounts will be kept; relative to DIR
    #[arg(long, value_name = "DIR", default_value = "/var/lib/packetboat")]
    data: PathBuf,
    /// Print the records as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InitArgs) -> ExitCode {
    let domain = match args.domain.parse::<packetboat_server::Domain>() {
        Ok(domain) => domain,
        Err(_) => return fail(sysexits::USAGE, &format!("--domain: {:?} is not a domain name", args.domain)),
    };
    let domain = domain.to_ascii();
    let hostname = args.hostname.clone().unwrap_or_else(|| format!("mail.{domain}"));
    if hostname.parse::<packetboat_server::Domain>().is_err() {
        return fail(sysexits::USAGE, &format!("--hostname: {hostname:?} is not a host name"));
    }
    let written = match write(args, &hostname) {
        Ok(written) => written,
        Err(error) => return fail(sysexits::CANNOT_CREATE, &error),
    };
    let records = records(&domain, &hostname);
    let text = if args.json {
        json!({"hostname": hostname, "domain": domain, "written": written, "dns": records}).to_string()
    } else {
        tell(args, &domain, &written, &records)
    };
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(sysexits::IO, &error),
    }
}

/// Writes what is missing; the files written.
fn write(args: &InitArgs, hostname: &str) -> Result<Vec<PathBuf>, String> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| format!("{}: {error}", path.display())
    };
    let (config, tls) = (args.dir.join("packetboat.toml"), args.dir.join("tls"));
    if config.exists() {
        return Err(format!("{} exists already; remove it or choose another --dir", config.display()));
    }
    fs::create_dir_all(&tls).map_err(at(&tls))?;
    let mut written = Vec::new();
    let (chain, key, ca) = (tls.join("cert.pem"), tls.join("key.pem"), tls.join("ca.pem"));
    if !chain.exists() && !key.exists() {
        let made = generate(&[hostname.to_owned()]).map_err(|error| format!("certificate: {error}"))?;
        write_private(&key, &made.key).map_err(at(&key))?;
        fs::write(&chain, &made.chain).map_err(at(&chain))?;
        fs::write(&ca, &made.ca).map_err(at(&ca))?;
        written.extend([key, chain, ca]);
    }
    let quoted = |text: &str| format!("{text:?}");
    let values = [
        ("hostname", quoted(hostname)),
        ("data", quoted(&args.data.display().to_string())),
        ("certificate.chain", quoted("tls/cert.pem")),
        ("certificate.key", quoted("tls/key.pem")),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fs::write(&config, example(&values)).map_err(at(&config))?;
    written.insert(0, config);
    Ok(written)
}

fn tell(args: &InitArgs, domain: &str, written: &[PathBuf], records: &[Record]) -> String {
    let mut text = String::from("Written:\n");
    for file in written {
        text.push_str(&format!("  {}\n", file.display()));
    }
    text.push_str("\nPublish these DNS records:\n");
    for Record { name, kind, value, why } in records {
        text.push_str(&format!("  {name:<34} {kind:<4} {value}\n  {:<34}      ; {why}\n", ""));
    }
    let config = args.dir.join("packetboat.toml");
    let config = config.display();
    text.push_str(&format!(
        "\nNext:\n  packetboat domain add {domain} --config {config}\n  packetboat account add you@{domain} --config {config}\n  \
         packetboat serve --config {config}\n\n\
         The certificate is one that no client trusts yet. Put a real one in its place (tls/cert.pem, tls/key.pem):\n\
         the server notices by itself."
    ));
    text
}
