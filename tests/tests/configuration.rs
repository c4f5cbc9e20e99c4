//! What a service says of a configuration that cannot work, and how it exits.

use std::path::Path;
use std::process::{Command, Output};

use bulkhead_tests::{Binary, Options, Sandbox, binary};

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: i32 = 78;

fn serve(folder: &Path, config: &str) -> anyhow::Result<Output> {
    let file = folder.join("bulkhead.toml");
    std::fs::write(&file, config)?;
    Ok(Command::new(binary(Binary::Shipped)?).args(["serve", "audit", "--config"]).arg(file).output()?)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_token_file_is_named_and_restarting_does_not_help() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().display();
    // 32 zero bytes: the one file that is right.
    std::fs::write(folder.path().join("log.key"), format!("{}=\n", "A".repeat(43)))?;
    let config = format!(
        "[audit]\ndata = \"{data}/audit\"\nlog_key = \"{data}/log.key\"\n\
         [audit.edge]\nlisten = \"127.0.0.1:0\"\ntokens = \"{data}/no-such-tokens.toml\"\n"
    );
    let output = serve(folder.path(), &config)?;
    assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{}", said(&output));
    assert!(said(&output).contains("no-such-tokens.toml"), "{}", said(&output));
    Ok(())
}

#[test]
fn a_file_that_is_no_toml_is_located_without_repeating_its_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let output = serve(folder.path(), "[audit]\ndata = \"x\"\npassword = \"hunter2\" oops\n")?;
    assert_eq!(output.status.code(), Some(EXIT_CONFIG), "{}", said(&output));
    assert!(
        said(&output).contains("bulkhead.toml:3:") && !said(&output).contains("hunter2"),
        "{}",
        said(&output)
    );
    Ok(())
}

/// The configuration of the first start with every key that shows its default switched on.
fn switched_on(config: &str) -> (String, usize) {
    let (mut text, mut count, mut example) = (String::new(), 0, false);
    for line in config.lines() {
        // A table behind a `#` is an example, to its end.
        example = line.starts_with("# [[") || (example && line.starts_with('#'));
        let key =
            line.strip_prefix("# ").filter(|rest| rest.split(' ').nth(1) == Some("=")).filter(|_| !example);
        count += usize::from(key.is_some());
        text += key.unwrap_or(line);
        text.push('\n');
    }
    (text, count)
}

#[tokio::test]
async fn every_default_that_the_first_configuration_shows_is_one() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.stop().await?;
    let path = sandbox.data().join("bulkhead.toml");
    let (config, count) = switched_on(&std::fs::read_to_string(&path)?);
    assert!(count >= 28, "only {count} defaults found in:\n{config}");
    std::fs::write(&path, config)?;
    sandbox.start_again().await
}
