//! Debian's packages: installed where we may, or unpacked under `target/`, where they start no service, ask no
//! question and conflict with nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Result, is_root, output, run, target_dir};

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-qq", "-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments);
    command
}

/// Fetches the lists of packages if this machine has none, as a fresh container has none.
fn update(wanted: &[&str]) -> Result {
    let known = output(Command::new("apt-cache").args(["show", "--no-all-versions"]).args(wanted)).is_ok();
    if !known && is_root() {
        run(&mut apt_get(&["update"]))?;
    }
    Ok(())
}

/// Installs packages; for root only.
pub(crate) fn install(packages: &[&str]) -> Result {
    run(&mut apt_get(&["update"]))?;
    run(apt_get(&["install", "-y", "--no-install-recommends"]).args(packages))
}

/// Unpacks packages, and the libraries they need that this machine has not, into `target/debian/NAME`.
pub(crate) fn unpack(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = target_dir().join("debian").join(name);
    // Written last, so that what was broken off is begun again, as is what lacks a package wanted since.
    let there = fs::read_to_string(place.join("versions")).unwrap_or_default();
    if packages.iter().all(|package| there.lines().any(|line| line.split(' ').next() == Some(*package))) {
        return Ok(place);
    }
    update(packages)?;
    let plan = output(
        apt_get(&["--simulate", "install", "--no-install-recommends"]).args(packages).env("LC_ALL", "C"),
    )
    .map_err(|e| {
        format!("{e}\n(is {} in this machine's package lists? try `apt-get update`)", packages.join(" "))
    })?;
    let mut wanted: Vec<&str> = packages.to_vec();
    let needed = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    wanted.extend(needed.filter(|p| !packages.contains(p)));

    println!("unpacking {} into {}", wanted.join(" "), place.display());
    let fresh = target_dir().join("debian").join(format!("{name}.{}", std::process::id()));
    let debs = fresh.join("debs");
    fs::create_dir_all(&debs)?;
    output(apt_get(&["download"]).args(&wanted).current_dir(&debs))?;
    let mut versions = String::new();
    for deb in fs::read_dir(&debs)? {
        let deb = deb?.path();
        output(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&fresh))?;
        versions += &output(
            Command::new("dpkg-deb").args(["-W", "--showformat", "${Package} ${Version}\n"]).arg(&deb),
        )?;
    }
    fs::remove_dir_all(&debs)?;
    merge_usr(&fresh)?;
    fs::write(fresh.join("versions"), versions)?;
    let _ = fs::remove_dir_all(&place);
    fs::rename(&fresh, &place)?;
    Ok(place)
}

/// Moves `lib`, `bin` and `sbin` below `usr`, where Debian 12 has them.
fn merge_usr(tree: &Path) -> Result {
    for dir in ["lib", "bin", "sbin"] {
        if tree.join(dir).exists() {
            fs::create_dir_all(tree.join("usr"))?;
            output(Command::new("cp").arg("-a").arg(tree.join(dir)).arg(tree.join("usr")))?;
            fs::remove_dir_all(tree.join(dir))?;
        }
    }
    Ok(())
}
