//! `bulkhead init`: what services in containers need of keys, tokens, certificates and configuration, in a folder for
//! each of them.
//!
//! Promises that no service's folder holds what only another may know, that a second run changes nothing, and that
//! a run which was cut short is begun again, since nothing can have used what it left.

mod contents;
mod folders;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use self::folders::{Folder, Plan, Volumes};
use crate::certs;
use crate::up::init::{TENANT, furnish};
use crate::up::secured::CERTIFICATE_DAYS;
use crate::up::{Layout, say};

/// Arguments of `bulkhead init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The folder that holds, or will hold, one folder for each service, and `identities`, `people` and `authority`.
    /// docker-compose.yml mounts a volume at each.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A further DNS name or IP address that the services are called by; may be given more than once. Each has its own
    /// name, `localhost`, 127.0.0.1 and ::1 already.
    #[arg(long = "name", value_name = "HOST", value_delimiter = ',')]
    names: Vec<String>,
    /// Sign new certificates for the services of an earlier run. They take them up by themselves. Each --name has to
    /// be given again.
    #[arg(long)]
    renew_certificates: bool,
}

impl InitArguments {
    /// Makes what is missing, and says what is where.
    pub(crate) fn run(self) -> ExitCode {
        let volumes = Volumes::at(self.folder);
        let done =
            if self.renew_certificates { renew(&volumes, &self.names) } else { make(&volumes, &self.names) };
        match done {
            Ok(text) if writeln!(std::io::stdout(), "{text}").is_ok() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                say(&format!("bulkhead init: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// Makes what is missing.
fn make(volumes: &Volumes, names: &[String]) -> anyhow::Result<String> {
    match volumes.plan()? {
        Plan::Nothing => Ok("Everything was here already; nothing was changed.".to_owned()),
        Plan::Found => {
            volumes.begin(&Folder::ALL)?;
            let (_staging, layout) = staging()?;
            furnish(&layout, Some(names))?;
            for folder in Folder::ALL {
                contents::fill(volumes, folder, &layout)?;
            }
            volumes.finish(&Folder::ALL)?;
            Ok(summary("Made keys, tokens, certificates and configuration:", volumes, &Folder::ALL))
        }
        Plan::Finish(folders) => {
            volumes.finish(&folders)?;
            make(volumes, names)
        }
        Plan::Add(folders) => {
            volumes.begin(&folders)?;
            // What was added so far holds a part of what people have.
            let people = volumes.layout(Folder::People);
            for folder in &folders {
                contents::fill(volumes, *folder, &people)?;
            }
            volumes.finish(&folders)?;
            Ok(summary("Made what this release adds; the rest is as it was:", volumes, &folders))
        }
    }
}

/// Signs the services' certificates anew.
fn renew(volumes: &Volumes, names: &[String]) -> anyhow::Result<String> {
    ensure!(
        volumes.plan()? == Plan::Nothing,
        "there is nothing to renew yet; run `bulkhead init` without the flag"
    );
    let (_staging, layout) = staging()?;
    let (authority, certificates) = (volumes.layout(Folder::Authority).certificates(), layout.certificates());
    crate::up::private_folder(&certificates)?;
    for name in ["ca.key", "ca.crt"] {
        let from = authority.join(name);
        let to = certificates.join(name);
        std::fs::copy(&from, &to)
            .with_context(|| format!("the authority is not here: {}", from.display()))?;
    }
    certs::make(&certificates, names, TENANT, CERTIFICATE_DAYS, true)?;
    for folder in Folder::ALL {
        contents::renew(volumes, folder, &layout)?;
    }
    Ok(format!("The services have new certificates, good for {CERTIFICATE_DAYS} days."))
}

/// A data folder that is gone with the first value: all is made there before any of it is handed out.
fn staging() -> anyhow::Result<(tempfile::TempDir, Layout)> {
    let staging = tempfile::Builder::new().prefix("bulkhead-init-").tempdir();
    let staging = staging.context("cannot make a temporary folder")?;
    let layout = Layout::new(staging.path().to_owned());
    Ok((staging, layout))
}

fn summary(what: &str, volumes: &Volumes, folders: &[Folder]) -> String {
    let mut text = format!("{what}\n");
    for folder in folders {
        text += &format!("  {:<34} {}\n", shown(&volumes.path(*folder)), folder.holds());
    }
    text += "\nKeep a copy of all of it: what is lost cannot be made again.";
    text
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
