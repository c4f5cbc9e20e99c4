//! Nothing secret is in any log, however much is logged: not what callers present, not what services hold, not what a
//! tool is told to write.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bulkhead_tests::command::run;
use bulkhead_tests::{Options, Sandbox};

/// What is written by a tool, and what somebody who has no token presents.
const WRITTEN: &str = "sk-written-by-a-tool-4f1d";
const GUESSED: &str = "bhk_guessed-by-a-stranger-9a2c";

/// Every secret of a data folder that is text: tokens, and private keys line by line.
fn secrets(data: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let folders = ["tokens", "keys", "certs"].map(|name| data.join(name));
    for folder in folders.iter().filter(|folder| folder.exists()) {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pub" || extension == "crt") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let lines =
                text.lines().map(str::trim).filter(|line| line.len() >= 16 && !line.starts_with("--"));
            found.extend(lines.map(|line| (path.clone(), line.to_owned())));
        }
    }
    Ok(found)
}

fn logs(data: &Path) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(data.join("logs"))? {
        let path = entry?.path();
        logs.push((path.clone(), String::from_utf8_lossy(&fs::read(&path)?).into_owned()));
    }
    Ok(logs)
}

#[tokio::test]
async fn the_most_detailed_log_holds_no_secret() -> anyhow::Result<()> {
    let held = logged(false).await?;
    for name in ["tokens/agent", "keys/grant.key", "keys/approval.token", "keys/simulated-models.key"] {
        assert!(held.iter().any(|path| path.ends_with(name)), "{name} is not among {held:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nor_does_it_where_all_speak_tls() -> anyhow::Result<()> {
    let held = logged(true).await?;
    for name in ["certs/ca.key", "certs/audit.key", "certs/approval.client.key"] {
        assert!(held.iter().any(|path| path.ends_with(name)), "{name} is not among {held:?}");
    }
    Ok(())
}

/// Lets a stack work that logs everything, finds no secret in what it said, and tells where those were from.
async fn logged(tls: bool) -> anyhow::Result<Vec<PathBuf>> {
    let environment = vec![("BULKHEAD_LOG".to_owned(), "trace".to_owned())];
    let mut sandbox = Sandbox::start(Options { environment, tls, ..Options::default() }).await?;
    let content = format!("content=API_KEY={WRITTEN}");
    let written = ["tools", "run", "fs.write", "path=.env", &content];
    let calls: [(&[&str], i32); 7] = [
        (&written, 0),
        (&["tools", "run", "fs.read", "path=.env"], 0),
        (&["models", "explain", "--sensitivity", "credentials"], 0),
        (&["agent", "run", "summarise the folder", "--steps-max", "2"], 0),
        (&["approvals", "ls"], 0),
        (&["audit", "query"], 0),
        (&["tools", "ls", "--token", GUESSED], 4),
    ];
    let mut said = String::new();
    for (call, code) in calls {
        let ended = run(&sandbox, call)?.exits(code)?;
        said.push_str(&ended.stderr);
        // What was written is what reading it is for.
        if !call.contains(&"fs.read") {
            said.push_str(&ended.stdout);
        }
    }
    sandbox.stop().await?;

    let data = sandbox.data();
    let (logs, mut secrets) = (logs(&data)?, secrets(&data)?);
    secrets.extend([WRITTEN, GUESSED].map(|secret| (PathBuf::from("a call"), secret.to_owned())));
    for service in ["model-router", "tool-executor", "approval", "audit"] {
        let (_, log) =
            logs.iter().find(|(path, _)| path.ends_with(format!("{service}.log"))).context("a log")?;
        assert!(log.contains("\"level\":\"TRACE\""), "{service} did not log in detail");
    }
    for (from, secret) in &secrets {
        for (place, log) in &logs {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "what {} holds is in {}", from.display(), place.display());
        }
        assert!(!said.contains(secret.as_str()), "what {} holds was said to a person", from.display());
    }
    Ok(secrets.into_iter().map(|(from, _)| from).collect())
}
