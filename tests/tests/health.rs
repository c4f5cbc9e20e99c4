//! A service's program asks the running service for its health, as container engines do.

use std::path::Path;
use std::time::{Duration, Instant};

use bulkhead_tests::command::{Ended, command};
use bulkhead_tests::{Options, Sandbox, eventually};
use rustix::process::{Pid, Signal, kill_process};

/// The exit code of a configuration that cannot work.
const EXIT_CONFIG: i32 = 78;
/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(60);

fn ask(config: &Path) -> anyhow::Result<Ended> {
    let config = config.to_str().unwrap_or_default();
    let mut asked = command(Path::new("/"), &["serve", "approval", "--config", config, "--health"])?;
    Ended::of(asked.output()?)
}

/// The sandbox's configuration with one text for another, beside the first.
fn changed(sandbox: &Sandbox, from: &str, to: &str) -> anyhow::Result<std::path::PathBuf> {
    let text = std::fs::read_to_string(sandbox.data().join("bulkhead.toml"))?;
    anyhow::ensure!(text.contains(from), "{from} is not in {text}");
    let path = sandbox.data().join("changed.toml");
    std::fs::write(&path, text.replace(from, to))?;
    Ok(path)
}

#[tokio::test]
async fn a_service_that_is_ready_says_so_and_one_that_is_not_says_why() -> anyhow::Result<()> {
    for tls in [false, true] {
        let mut sandbox = Sandbox::start(Options { tls, ..Options::default() }).await?;
        let config = sandbox.data().join("bulkhead.toml");
        assert_eq!(ask(&config)?.exits(0)?.stdout, "approval: serving\n");

        let exposed = changed(&sandbox, &sandbox.address("approval")?, "127.0.0.1:0")?;
        ask(&exposed)?.exits(1)?.says("write one into edge.listen")?;
        let strange = changed(&sandbox, "[approval]", "[approval]\nno_such_key = 1")?;
        ask(&strange)?.exits(0)?;

        let identities = sandbox.data().join("identities.toml");
        let before = std::fs::read_to_string(&identities)?;
        std::fs::write(&identities, "broken")?;
        ask(&config)?.exits(EXIT_CONFIG)?.says("approval.edge.tokens")?;
        std::fs::write(&identities, before)?;

        sandbox.stop().await?;
        ask(&config)?.exits(1)?.says("nobody accepts connections")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_not_well() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let (identities, aside) = (sandbox.data().join("identities.toml"), sandbox.data().join("aside.toml"));
    std::fs::copy(&identities, &aside)?;
    // What asks reads a whole file; what runs has a broken one.
    let config = changed(&sandbox, "identities.toml", "aside.toml")?;
    std::fs::write(&identities, "broken")?;
    eventually("NOT_SERVING", BOUND, || {
        let ended = ask(&config);
        async move { Ok(ended?.exits(1).ok().map(|ended| ended.says("NOT_SERVING"))) }
    })
    .await??;
    Ok(())
}

#[tokio::test]
async fn one_that_hangs_is_given_up_within_the_time_that_the_images_allow() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options { tls: true, ..Options::default() }).await?;
    let pids = sandbox.pids("approval")?;
    let signal = |signal| {
        let pid = pids.first().copied().and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| kill_process(pid, signal))
    };
    signal(Signal::STOP)?;
    let began = Instant::now();
    let ended = ask(&sandbox.data().join("bulkhead.toml"));
    signal(Signal::CONT)?;
    ended?.exits(1)?.says("did not answer within 3 s")?;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn another_service_at_its_port_is_not_taken_for_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options { tls: true, ..Options::default() }).await?;
    let audit = changed(&sandbox, &sandbox.address("approval")?, &sandbox.address("audit")?)?;
    ask(&audit)?.exits(1)?.says("it shows another certificate than its file holds")?;
    let required = changed(&sandbox, "tls.client_auth = \"optional\"", "tls.client_auth = \"required\"")?;
    ask(&required)?.exits(1)?.says("has no certificate to show")?;
    Ok(())
}

#[test]
fn a_program_says_what_it_was_built_from() -> anyhow::Result<()> {
    let said = Ended::of(command(Path::new("/"), &["--version"])?.output()?)?.exits(0)?.stdout;
    let begins = concat!("bulkhead ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(said.starts_with(begins) && said.contains(" build for "), "{said}");
    Ok(())
}
