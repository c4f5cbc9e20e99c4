//! Everything that runs, and the files that it runs by.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bulkhead_edge::tokens::token_hash;
use tempfile::TempDir;

use crate::child::Child;

/// The credential of the load. It opens nothing but this bench.
pub(crate) const TOKEN: &str = "token-of-the-bench";
/// The model, and the route to it.
pub(crate) const MODEL: &str = "bench";
/// What the router shows to audit.
const SERVICE_TOKEN: &str = "token-of-the-router";
/// Memory counts once it has not grown for this long.
const SETTLED: Duration = Duration::from_secs(2);

/// All of it. What is called by others ends after them.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) router: Child,
    pub(crate) proxy: Child,
    pub(crate) gateway: Child,
    pub(crate) audit: Child,
    pub(crate) simulator: Child,
    _collector: Child,
    _folder: TempDir,
}

impl House {
    /// Starts everything; `traced`: the services tell the collector.
    pub(crate) async fn open(programs: Option<&Path>, traced: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let simulator = Child::part(&["simulator"]).await?;
        let proxy = Child::part(&["proxy", &simulator.address]).await?;
        let gateway = Child::part(&["gateway", &simulator.address]).await?;
        let collector = Child::part(&["collector"]).await?;
        let start = |service| {
            let mut command = program(service, programs, folder.path());
            if traced {
                command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
            }
            command
        };
        credentials(folder.path())?;
        furnish(folder.path(), "audit", &audit(folder.path()))?;
        let audit = Child::start(start("audit")).await?;
        furnish(folder.path(), "model-router", &router(folder.path(), &simulator.address, &audit.address))?;
        let router = Child::start(start("model-router")).await?;
        Ok(Self { router, proxy, gateway, audit, simulator, _collector: collector, _folder: folder })
    }

    /// The router's memory, once it has come to rest, in KiB.
    pub(crate) async fn settled_memory(&self) -> anyhow::Result<u64> {
        let (mut last, mut since) = (self.router.memory()?, Instant::now());
        while since.elapsed() < SETTLED {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.router.memory()?;
            if now > last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
    }
}

/// The service's own program, or `bulkhead serve`.
fn program(service: &str, programs: Option<&Path>, folder: &Path) -> Command {
    let mut command = match programs {
        Some(programs) => Command::new(programs.join(service)),
        None => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
            command.args(["serve", service]);
            command
        }
    };
    command.arg("--config").arg(folder.join(format!("{service}.toml")));
    command
}

fn furnish(folder: &Path, service: &str, configuration: &str) -> anyhow::Result<()> {
    std::fs::write(folder.join(format!("{service}.toml")), configuration)?;
    Ok(())
}

fn credentials(folder: &Path) -> anyhow::Result<()> {
    let tokens = |token: &str, kind: &str, name: &str, role: &str| {
        let hash = token_hash(token);
        format!(
            "[[token]]\nhash = \"{hash}\"\ntenant = \"default\"\nkind = \"{kind}\"\nname = \"{name}\"\nroles = [\"{role}\"]\n"
        )
    };
    bulkhead_grant::write_new_key(&folder.join("log.key"), [7; 32])?;
    std::fs::write(folder.join("router-tokens.toml"), tokens(TOKEN, "agent", "bench", "agent"))?;
    let router = tokens(SERVICE_TOKEN, "service", "model-router", "service");
    std::fs::write(folder.join("audit-tokens.toml"), router)?;
    std::fs::write(folder.join("router-token"), SERVICE_TOKEN)?;
    Ok(std::fs::write(folder.join("key"), "key-of-the-bench-0123456789")?)
}

fn audit(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "[audit]\ndata = \"{folder}/log\"\nlog_key = \"{folder}/log.key\"\n\
         [audit.edge]\nlisten = \"127.0.0.1:0\"\ntokens = \"{folder}/audit-tokens.toml\"\n"
    )
}

fn router(folder: &Path, simulator: &str, audit: &str) -> String {
    let folder = folder.display();
    format!(
        "[model-router]\ndata = \"{folder}/router\"\n\
         [model-router.edge]\nlisten = \"127.0.0.1:0\"\ntokens = \"{folder}/router-tokens.toml\"\n\
         [model-router.audit]\nendpoint = \"http://{audit}\"\ntoken_file = \"{folder}/router-token\"\n\
         [[model-router.model]]\nname = \"{MODEL}\"\nprovider = \"openai\"\nbase_url = \"http://{simulator}/v1\"\n\
         provider_model = \"{MODEL}\"\nlocal = false\napi_key_file = \"{folder}/key\"\n\
         [[model-router.route]]\nname = \"{MODEL}\"\nchain = [\"{MODEL}\"]\n"
    )
}
