//! `bulkhead certs`: a certificate authority for development, and what the services need of it.

mod authority;
mod folder;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use self::authority::{Authority, Validity};
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
    /// `localhost`, 127.0.0.1 and ::1 are always in.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// The tenant of the services in their client certificates.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    /// How many days the certificates are good for.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=825))]
    days: u16,
    /// Sign new certificates with the authority that is there. Running services take them up by themselves.
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
        crate::up::private_folder(folder)?;
        let made = Authority::create(Validity::from(today, AUTHORITY_DAYS)?)?;
        // The key first: its refusal to overwrite stands for the whole folder.
        private_file(&key, &made.key_pem())?;
        public_file(&certificate, made.certificate_pem()?)?;
        made
    };
    let validity = Validity::from(today, days)?;
    for service in Service::ALL {
        let files = ServiceFiles::of(folder, service);
        let principal = format!("spiffe://bulkhead/{tenant}/service/{}", service.name());
        let server = authority.server(service.name(), names, validity)?;
        let client = authority.client(&principal, validity)?;
        for (signed, at) in [(server, files.server), (client, files.client)] {
            // The key before the certificate; a service that looks between the two keeps what it has.
            replace(&at.key, &signed.key, 0o600)?;
            replace(&at.certificate, &signed.certificate, 0o644)?;
        }
    }
    Ok(())
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
