//! The whole stack over TLS, as `bulkhead up --tls` makes it.

use std::process::Output;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::command::{Ended, command, json, run, waiting};
use bulkhead_tests::probe::{Ask, Secured};
use bulkhead_tests::{Options, Sandbox, eventually};
use serde_json::Value;

/// The exit code of what was not sent, since the command line cannot be right.
const WRONG: i32 = 2;
/// And of a service that is not there for whoever calls so.
const AWAY: i32 = 5;
/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(60);

async fn secured() -> anyhow::Result<Sandbox> {
    Sandbox::start(Options { tls: true, ..Options::default() }).await
}

/// Runs a command that knows the data folder of nothing.
fn elsewhere(arguments: &[&str]) -> anyhow::Result<Ended> {
    let folder = tempfile::tempdir()?;
    let output: Output = command(folder.path(), arguments)?.output()?;
    Ended::of(output)
}

#[tokio::test]
async fn a_gated_call_goes_through_all_four_services_and_is_on_record() -> anyhow::Result<()> {
    let sandbox = secured().await?;
    let (execution, approval) = waiting(&sandbox, "a.txt")?;
    run(&sandbox, &["approvals", "approve", &approval, "--yes"])?.exits(0)?;
    let recorded = || async {
        let events = json(&sandbox, &["audit", "query", "--kind", "tool.outcome"], 0)?;
        let events = events["events"].as_array().context("a list")?.clone();
        let own = |found: &&Value| found["event"]["subject_id"] == execution.as_str();
        Ok(events.iter().find(own).map(|found| found["event"]["outcome"].clone()))
    };
    assert_eq!(eventually("the outcome on record", BOUND, recorded).await?, "succeeded");
    run(&sandbox, &["agent", "run", "summarise the folder", "--steps-max", "2"])?.exits(0)?;
    let calls = || async {
        let events = json(&sandbox, &["audit", "query", "--kind", "model."], 0)?;
        Ok(events["events"].as_array().is_some_and(|events| !events.is_empty()).then_some(()))
    };
    eventually("a model call on record", BOUND, calls).await
}

#[tokio::test]
async fn whoever_calls_from_elsewhere_names_the_authority() -> anyhow::Result<()> {
    let sandbox = secured().await?;
    let other = secured().await?;
    let path = |sandbox: &Sandbox, name: &str| {
        let path = sandbox.data().join(name);
        path.to_str().map(str::to_owned).context("UTF-8")
    };
    let (address, token) = (sandbox.address("tool-executor")?, path(&sandbox, "tokens/agent")?);
    let (secure, plain) = (format!("https://{address}"), format!("http://{address}"));
    let call = |endpoint: &str, more: &[&str]| {
        let base = ["tools", "ls", "--timeout", "5s", "--token-file", &token, "--endpoint", endpoint];
        elsewhere(&[&base, more].concat())
    };
    // What would be of unknown outcome, had it been sent.
    let act = |endpoint: &str, more: &[&str]| {
        let base = ["tools", "run", "fs.write", "path=a.txt", "content=a", "--timeout", "5s"];
        elsewhere(&[&base, ["--token-file", &token, "--endpoint", endpoint].as_slice(), more].concat())
    };
    let ca = path(&sandbox, "certs/ca.crt")?;
    call(&secure, &["--ca", &ca])?.exits(0)?;
    let certificate = [
        path(&sandbox, "certs/tool-executor.client.crt")?,
        path(&sandbox, "certs/tool-executor.client.key")?,
    ];
    call(&secure, &["--ca", &ca, "--cert", &certificate[0], "--key", &certificate[1]])?.exits(0)?;

    let foreign = path(&other, "certs/ca.crt")?;
    let stranger =
        [path(&other, "certs/tool-executor.client.crt")?, path(&other, "certs/tool-executor.client.key")?];
    let approvals = path(&sandbox, "certs/approval.client.key")?;
    let pair = |key| vec!["--ca", ca.as_str(), "--cert", certificate[0].as_str(), "--key", key];
    for (endpoint, more, code, said) in [
        (&secure, vec!["--ca", foreign.as_str()], AWAY, "invalid peer certificate"),
        (&secure, vec!["--ca", foreign.as_str()], AWAY, "whether --ca names the authority"),
        (&secure, vec![], WRONG, "needs --ca"),
        (&secure, vec!["--ca", token.as_str()], WRONG, "does not hold a certificate in PEM"),
        (&secure, vec!["--ca", "absent.crt"], WRONG, "cannot read absent.crt"),
        (&secure, pair("absent.key"), WRONG, "cannot read absent.key"),
        (&secure, pair(&token), WRONG, "does not hold a private key"),
        (&secure, pair(&approvals), WRONG, "cannot be used with the key"),
        (&secure, vec!["--ca", ca.as_str(), "--cert", certificate[0].as_str()], WRONG, "--key <FILE>"),
        (&secure, vec!["--ca", &ca, "--cert", &stranger[0], "--key", &stranger[1]], AWAY, "fatal alert"),
        (&plain, vec![], AWAY, "it speaks TLS"),
    ] {
        for ended in [call(endpoint, &more)?, act(endpoint, &more)?] {
            let ended = ended.exits(code).with_context(|| format!("{more:?}"))?.says(said)?;
            assert!(!ended.stderr.contains("bhk_"), "{more:?}: {}", ended.stderr);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_the_token_file_names_needs_no_token() -> anyhow::Result<()> {
    let sandbox = secured().await?;
    let certs = sandbox.data().join("certs");
    let ask = Ask {
        address: sandbox.address("tool-executor")?,
        path: "bulkhead.tools.v1.ToolExecutorService/ListTools".to_owned(),
        timeout: "5S",
        body: vec![0; 5].into(),
        ..Ask::default()
    };
    let shows = Secured::of(&certs, Some("approval.client"))?;
    assert_eq!(shows.ask(ask.clone()).await?.reason, "CREDENTIAL_REQUIRED", "signed, and nobody's yet");

    let entry = "\n[[token]]\ncertificate = \"spiffe://bulkhead/default/service/approval\"\ntenant = \"default\"\n\
                 kind = \"agent\"\nname = \"scribe\"\nowner = \"operator\"\nroles = [\"agent\"]\n";
    let identities = sandbox.data().join("identities.toml");
    std::fs::write(&identities, std::fs::read_to_string(&identities)? + entry)?;
    let admitted = || async { Ok((shows.ask(ask.clone()).await?.code == 0).then_some(())) };
    eventually("the certificate to be known", BOUND, admitted).await?;
    for other in [None, Some("audit.client")] {
        let refused = Secured::of(&certs, other)?.ask(ask.clone()).await?;
        assert_eq!(refused.reason, "CREDENTIAL_REQUIRED", "{other:?}");
    }
    Ok(())
}

#[tokio::test]
async fn renewed_certificates_disturb_nobody_and_a_second_start_goes_on_with_tls() -> anyhow::Result<()> {
    let mut sandbox = secured().await?;
    let certs = sandbox.data().join("certs");
    let before = std::fs::read(certs.join("audit.crt"))?;
    let (caller, audit) = (Secured::of(&certs, None)?, sandbox.address("audit")?);
    let shown = caller.shown(&audit).await?;
    let folder = certs.to_str().context("UTF-8")?;
    elsewhere(&["certs", folder, "--renew"])?.exits(0)?;
    assert_ne!(std::fs::read(certs.join("audit.crt"))?, before);
    let taken = || async { Ok((caller.shown(&audit).await? != shown).then_some(())) };
    eventually("the new certificate to be shown", BOUND, taken).await?;
    run(&sandbox, &["tools", "ls"])?.exits(0)?;

    // The configuration says it, whatever the flags of a later start are.
    sandbox.stop().await?;
    sandbox.start_again().await?;
    run(&sandbox, &["tools", "ls"])?.exits(0)?;
    run(&sandbox, &["audit", "query"])?.exits(0)?;
    Ok(())
}

#[tokio::test]
async fn a_folder_that_speaks_plaintext_is_not_rewritten() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.stop().await?;
    let config = sandbox.data().join("bulkhead.toml");
    let before = std::fs::read(&config)?;
    let data = sandbox.data();
    let data = data.to_str().context("UTF-8")?;
    let ended = elsewhere(&["up", "--tls", "--data", data])?;
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    ended.says("speaks plaintext")?.says("bulkhead certs")?;
    assert_eq!(std::fs::read(&config)?, before);
    assert!(!sandbox.data().join("certs").exists());
    Ok(())
}
