//! `bulkhead certs`: a certificate authority for development, and what the services need of it.

mod authority;
mod folder;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use bulkhead_edge::principal::is_tenant;
use clap::Args;

use self::authority::{Authority, Pair, Validity};
use self::folder::{Signed, private_file, public_file, replace};
use crate::serve::Service;
use crate::up::say;

/// How long the authority is good for: ten years, so that what it signs is what expires.
const AUTHORITY_DAYS: u16 = 3_650;

/// Arguments of `bulkhead certs`.
#[derive(Debug, Args)]
pub(crate) struct CertsArguments {
    /// Where to put the files. Made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A further DNS name or IP address that the services are called by; may be given more than once.
    /// `localhost`, 127.0.0.1, ::1 and the service's own name are always in.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// The tenant of the services in their client certificates.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    /// How many days the certificates are good for.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
    days: u16,
    /// Sign new certificates with the authority that is there. Running services take them up by themselves. Each
    /// --name has to be given again.
    #[arg(long)]
    renew: bool,
}

impl CertsArguments {
    /// Makes the files and says what to do with them.
    pub(crate) fn run(self) -> ExitCode {
        match self.make() {
            Ok(advice) if writeln!(std::io::stdout(), "{advice}").is_ok() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                say(&format!("bulkhead certs: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }

    fn make(&self) -> anyhow::Result<String> {
        make(&self.folder, &self.names, &self.tenant, self.days, self.renew)?;
        advice(&self.folder)
    }
}

/// Where the files of one service lie.
pub(crate) struct ServiceFiles {
    /// What its listener shows.
    pub(crate) server: Signed,
    /// What it shows to others.
    pub(crate) client: Signed,
}

impl ServiceFiles {
    pub(crate) fn of(folder: &Path, service: Service) -> Self {
        let name = service.name();
        Self { server: Signed::at(folder, name), client: Signed::at(folder, &format!("{name}.client")) }
    }
}

/// The certificate of the authority.
pub(crate) fn authority_file(folder: &Path) -> PathBuf {
    folder.join("ca.crt")
}

/// Makes an authority unless `renew` says to take the one that is there, and signs a server's and a client's
/// certificate for every service.
pub(crate) fn make(
    folder: &Path,
    names: &[String],
    tenant: &str,
    days: u16,
    renew: bool,
) -> anyhow::Result<()> {
    let today = bulkhead_edge::now();
    let (certificate, key) = (authority_file(folder), folder.join("ca.key"));
    let authority = if renew {
        let text = std::fs::read_to_string(&key);
        let text = text.with_context(|| format!("there is no authority to renew from: {}", key.display()))?;
        Authority::load(&text).with_context(|| format!("{} is no key of an authority", key.display()))?
    } else {
        Authority::create(Validity::from(today, AUTHORITY_DAYS)?)?
    };
    // All is signed before anything is written: a name that is none must not leave half of the files.
    let signed = sign(&authority, folder, names, tenant, Validity::from(today, days)?)?;
    if !renew {
        crate::up::private_folder(folder)?;
        // The key first: its refusal to overwrite stands for the whole folder.
        private_file(&key, &authority.key_pem())?;
        public_file(&certificate, &authority.certificate_pem()?)?;
    }
    for (pair, at) in signed {
        // The key before the certificate; a service that looks between the two keeps what it has.
        replace(&at.key, &pair.key, 0o600)?;
        replace(&at.certificate, &pair.certificate, 0o644)?;
    }
    Ok(())
}

/// A server's and a client's certificate for every service, and where they belong.
fn sign(
    authority: &Authority,
    folder: &Path,
    names: &[String],
    tenant: &str,
    validity: Validity,
) -> anyhow::Result<Vec<(Pair, Signed)>> {
    // What is no tenant could not be entered in a token file either.
    ensure!(is_tenant(tenant), "{tenant:?} is no tenant: 1 to 64 of a to z, 0 to 9 and -");
    let mut signed = Vec::new();
    for service in Service::ALL {
        let files = ServiceFiles::of(folder, service);
        // Under its own name alone: one service must not be taken for another.
        let names = [names, &[service.name().to_owned()]].concat();
        let principal = format!("spiffe://bulkhead/{tenant}/service/{}", service.name());
        signed.push((authority.server(service.name(), &names, validity)?, files.server));
        signed.push((authority.client(&principal, validity)?, files.client));
    }
    Ok(signed)
}

/// What to write into the configuration.
fn advice(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize().context("the folder is gone")?;
    let ca = quoted(&authority_file(&folder))?;
    let mut text = format!(
        "The authority is {}; keep ca.key away from the services.\nFor the configuration, with every endpoint as \
         https://…:\n",
        folder.join("ca.crt").display()
    );
    for service in Service::ALL {
        let files = ServiceFiles::of(&folder, service);
        text += &format!(
            "\n[{}.edge.tls]\ncertificate = {}\nkey = {}\nclient_ca = {ca}\nclient_auth = \"optional\"\n",
            service.name(),
            quoted(&files.server.certificate)?,
            quoted(&files.server.key)?,
        );
        if service == Service::Audit {
            continue;
        }
        text += &format!(
            "# and in each table of a peer that it calls, such as [{}.audit]:\n# ca = {ca}\n# certificate = {}\n# key = {}\n",
            service.name(),
            quoted(&files.client.certificate)?,
            quoted(&files.client.key)?,
        );
    }
    Ok(text)
}

fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str();
    ensure!(text.is_some(), "the path {} is not UTF-8", path.display());
    Ok(toml::Value::String(text.unwrap_or_default().to_owned()).to_string())
}
