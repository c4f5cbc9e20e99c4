//! The commands as people and scripts run them: real processes, real services, exit codes and what is said.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_tests::command::{Ended, command, json, run, waiting};
use bulkhead_tests::{Options, Sandbox, eventually};
use serde_json::Value;

#[tokio::test]
async fn a_call_is_planned_run_approved_and_taken_back() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let listed = json(&sandbox, &["tools", "ls"], 0)?;
    let names: Vec<_> =
        listed["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["fs.append", "fs.delete", "fs.list", "fs.move", "fs.read", "fs.write"]);

    let planned = run(&sandbox, &["tools", "plan", "fs.write", "path=a.txt", "content=first"])?.exits(0)?;
    assert!(planned.stdout.contains("+first"), "{}", planned.stdout);
    let dry = ["tools", "run", "fs.write", "path=a.txt", "content=first", "--dry-run"];
    run(&sandbox, &dry)?.exits(0)?;
    assert!(!sandbox.workspace().join("a.txt").exists(), "a dry run wrote");

    let (execution, approval) = waiting(&sandbox, "a.txt")?;
    let shown = run(&sandbox, &["approvals", "show", &approval])?.exits(0)?;
    assert!(shown.stdout.contains("-first") && shown.stdout.contains("+second"), "{}", shown.stdout);
    let listed = run(&sandbox, &["approvals", "ls"])?.exits(0)?;
    assert!(listed.stdout.lines().any(|line| line.starts_with(&approval)), "{}", listed.stdout);

    let vote = run(&sandbox, &["approvals", "approve", &approval, "--yes"])?.exits(0)?;
    assert!(vote.stdout.contains("approved") && vote.stderr.contains("+second"), "shown before the vote");
    run(&sandbox, &["executions", "show", &execution, "--wait", "30s"])?.exits(0)?;
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("a.txt"))?, "second");

    run(&sandbox, &["executions", "undo", &execution])?.exits(0)?;
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("a.txt"))?, "first");
    let undone = json(&sandbox, &["executions", "ls", "--state", "undone"], 0)?;
    assert_eq!(undone["executions"][0]["execution_id"], execution.as_str());
    run(&sandbox, &["executions", "undo", &execution])?.exits(1)?.says("NOT_UNDOABLE")?;
    Ok(())
}

#[tokio::test]
async fn a_denial_needs_a_reason_and_the_agent_reads_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let (execution, approval) = waiting(&sandbox, "a.txt")?;
    run(&sandbox, &["approvals", "deny", &approval])?.exits(2)?;
    run(&sandbox, &["approvals", "deny", &approval, "--reason", "keep the first"])?.exits(0)?;
    let settled = run(&sandbox, &["executions", "show", &execution, "--wait", "30s"])?.exits(1)?;
    assert!(settled.stdout.contains("keep the first"), "{}", settled.stdout);
    run(&sandbox, &["approvals", "approve", &approval, "--yes"])?.exits(1)?.says("APPROVAL_SETTLED")?;
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("a.txt"))?, "first");
    Ok(())
}

#[tokio::test]
async fn nobody_approves_unseen_unasked_or_for_themselves() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let (_execution, approval) = waiting(&sandbox, "a.txt")?;
    run(&sandbox, &["approvals", "approve", &approval])?.exits(2)?.says("--yes")?;
    let other = "0".repeat(64);
    let elsewhere = ["approvals", "approve", &approval, "--yes", "--plan-digest", &other];
    run(&sandbox, &elsewhere)?.exits(1)?.says("--plan-digest")?;
    let own = ["approvals", "approve", &approval, "--yes", "--as", "operator"];
    run(&sandbox, &own)?.exits(4)?.says("SELF_APPROVAL")?;
    let agent = ["approvals", "approve", &approval, "--yes", "--as", "agent"];
    run(&sandbox, &agent)?.exits(4)?.says("ROLE_REQUIRED")?;
    let pending = json(&sandbox, &["approvals", "ls"], 0)?;
    assert_eq!(pending["approvals"][0]["approval_id"], approval.as_str(), "it still waits");

    let shown = json(&sandbox, &["approvals", "show", &approval], 0)?;
    let digest = shown["plan_digest"].as_str().context("plan_digest")?;
    run(&sandbox, &["approvals", "approve", &approval, "--yes", "--plan-digest", digest])?.exits(0)?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_told_by_its_exit_code() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    let nobody = "01a2058b-2b6d-7000-8000-000000000000";
    run(&sandbox, &["approvals", "show", "not-an-id"])?.exits(2)?;
    run(&sandbox, &["approvals", "show", nobody])?.exits(1)?.says("APPROVAL_NOT_FOUND")?;
    run(&sandbox, &["executions", "show", nobody])?.exits(1)?.says("EXECUTION_NOT_FOUND")?;
    run(&sandbox, &["tools", "run", "fs.read", "path=gone.txt"])?.exits(1)?;
    run(&sandbox, &["tools", "run", "no.such.tool"])?.exits(1)?;
    run(&sandbox, &["tools", "run", "fs.read", "nonsense"])?.exits(2)?;
    run(&sandbox, &["audit", "query", "--since", "whenever"])?.exits(2)?;
    run(&sandbox, &["tools", "ls", "--as", "nobody"])?.exits(2)?.says("agent, approver")?;
    run(&sandbox, &["tools", "ls", "--token", "bhk_wrong"])?.exits(4)?.says("CREDENTIAL_REQUIRED")?;
    run(&sandbox, &["tools", "ls", "--endpoint", "nowhere=http://127.0.0.1:1"])?.exits(2)?;

    let refused = run(&sandbox, &["tools", "ls", "--token", "bhk_wrong", "--json"])?.exits(4)?;
    let error: Value = serde_json::from_str(&refused.stderr)?;
    assert_eq!(error["error"]["reason"], "CREDENTIAL_REQUIRED");
    assert_eq!(error["error"]["exit_code"], 4);
    assert!(!refused.stderr.contains("bhk_wrong") && refused.stdout.is_empty());

    sandbox.stop().await?;
    run(&sandbox, &["tools", "ls"])?.exits(5)?.says("bulkhead up")?;
    // Nothing was sent, so nothing can have happened.
    run(&sandbox, &["tools", "run", "fs.read", "path=a.txt"])?.exits(5)?;
    Ok(())
}

#[tokio::test]
async fn a_folders_token_goes_only_where_its_configuration_says() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let parent = sandbox.data().join("elsewhere");
    std::fs::create_dir(&parent)?;
    std::os::unix::fs::symlink(sandbox.data(), parent.join("bulkhead-data"))?;
    let url = format!("http://{}", sandbox.address("tool-executor")?);

    // The folder is found by itself, and so are its addresses.
    Ended::of(command(&parent, &["tools", "ls"])?.output()?)?.exits(0)?;
    // An address from elsewhere gets no token from the folder that happens to be here.
    Ended::of(command(&parent, &["tools", "ls", "--endpoint", &url])?.output()?)?
        .exits(2)?
        .says("no token")?;
    Ended::of(command(&parent, &["tools", "ls", "--endpoint", &url, "--data", "bulkhead-data"])?.output()?)?
        .exits(0)?;
    // The environment is enough.
    let mut by_environment = command(Path::new("/"), &["tools", "ls"])?;
    by_environment.env("BULKHEAD_ENDPOINT", &url).env("BULKHEAD_TOKEN", sandbox.token("agent")?);
    Ended::of(by_environment.output()?)?.exits(0)?;
    Ended::of(command(Path::new("/"), &["tools", "ls"])?.output()?)?.exits(2)?.says("--token-file")?;
    Ok(())
}

#[tokio::test]
async fn models_and_the_record_are_shown_and_filtered() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let models = json(&sandbox, &["models", "ls"], 0)?;
    assert_eq!(models["models"].as_array().map(Vec::len), Some(3));
    let explained = json(&sandbox, &["models", "explain", "--sensitivity", "health"], 0)?;
    assert_eq!(explained["local_only"], true);
    assert_eq!(explained["planned"][0]["model"], "local");
    run(&sandbox, &["models", "explain", "--route", "nowhere"])?.exits(2)?.says("route")?;
    // Of the formats of the three models only Ollama's has a seed.
    let seeded = json(&sandbox, &["models", "explain", "--text", "One, two, three.", "--seed", "7"], 0)?;
    assert!(seeded["input_tokens"].is_string() && seeded["planned"][0]["model"] == "local", "{seeded}");
    assert_eq!(seeded["excluded"][0]["reason"], "NOT_EXPRESSIBLE");
    let nobody = ["models", "explain", "--text", "x", "--seed", "7", "--json-schema", "no-such-file"];
    run(&sandbox, &nobody)?.exits(2)?.says("no-such-file")?;
    run(&sandbox, &["models", "explain", "--seed", "7"])?.exits(2)?.says("--text")?;

    for content in ["one", "two", "three"] {
        let path = format!("path={content}.txt");
        run(&sandbox, &["tools", "run", "fs.write", &path, "content=x", "--session", content])?.exits(0)?;
    }
    let query = ["audit", "query", "--since", "1h", "--kind", "tool.intent", "--session", "two"];
    let within =
        bulkhead_tests::eventually("the event in the log", std::time::Duration::from_secs(30), || {
            let found = json(&sandbox, &query, 0);
            async move { Ok(Some(found?).filter(|found| found["events"].is_array())) }
        })
        .await?;
    assert_eq!(within["events"].as_array().map(Vec::len), Some(1));
    let of_three = |arguments: &[&str]| {
        let found = json(&sandbox, &[&["audit", "query", "--kind", "tool.intent"], arguments].concat(), 0)?;
        let events = found["events"].as_array().cloned().unwrap_or_default();
        let sessions = events.iter().map(|found| found["event"]["session_id"].as_str().map(str::to_owned));
        sessions.collect::<Option<Vec<_>>>().context("an event without its session")
    };
    bulkhead_tests::eventually("all three in the log", std::time::Duration::from_secs(30), || {
        let found = of_three(&[]);
        async move { Ok((found?.len() == 3).then_some(())) }
    })
    .await?;
    assert_eq!(of_three(&["--limit", "2"])?, ["two", "three"], "the newest, as one reads them");
    assert_eq!(of_three(&["--limit", "2", "--from-start"])?, ["one", "two"]);
    let more = run(&sandbox, &["executions", "ls", "--limit", "2"])?.exits(0)?.says("--limit")?;
    assert_eq!(more.stdout.lines().count(), 3, "a heading and two rows: {}", more.stdout);
    Ok(())
}

#[tokio::test]
async fn text_of_others_reaches_nobody_raw() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}";
    std::fs::write(sandbox.workspace().join("a.txt"), format!("{hostile}\n"))?;
    let content = format!("content={hostile}\r\n");
    for arguments in [
        vec!["tools", "run", "fs.read", "path=a.txt"],
        vec!["tools", "run", "fs.read", "path=a.txt", "--json"],
        vec!["tools", "plan", "fs.write", "path=a.txt", &content],
    ] {
        let mut command = command(&sandbox.data(), &arguments)?;
        // As on a terminal that shows colours: nothing is stripped on the way.
        let output = command.env("CLICOLOR_FORCE", "1").arg("--data").arg(sandbox.data()).output()?;
        let said = Ended::of(output)?.exits(0)?.stdout;
        let raw = said.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        let raw =
            ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[36m"].iter().fold(raw, |raw, ours| raw.replace(ours, ""));
        let found = raw.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(found, None, "{arguments:?}: {raw:?}");
        let spelt = raw.contains("<U+202E>") || raw.contains("\\u202e");
        assert!(spelt, "{arguments:?}: {raw:?}");
    }
    let piped = run(&sandbox, &["tools", "plan", "fs.write", "path=b.txt", "content=x"])?.exits(0)?;
    assert!(!piped.stdout.contains('\u{1b}'), "no colours into a pipe");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_error() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let data = sandbox.data();
    let mut child = command(&data, &["tools", "ls"])?
        .arg("--data")
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn arguments_come_from_a_file_or_standard_input_byte_for_byte() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let data = sandbox.data();
    let file = data.join("arguments.json");
    std::fs::write(&file, r#"{"path":"a.txt","content":"from a file"}"#)?;
    let at = format!("@{}", file.display());
    run(&sandbox, &["tools", "run", "fs.write", "--arguments", &at])?.exits(0)?;
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("a.txt"))?, "from a file");

    let mut child = command(&data, &["tools", "run", "fs.read", "--arguments", "-"])?
        .arg("--data")
        .arg(&data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let twice = br#"{"path":"a.txt","path":"b.txt"}"#;
    child.stdin.take().context("stdin")?.write_all(twice)?;
    let ended = Ended::of(child.wait_with_output()?)?.exits(1)?;
    assert!(ended.stdout.contains("INVALID_ARGUMENTS"), "{}", ended.stdout);
    Ok(())
}

#[tokio::test]
async fn budgets_are_shown_with_what_was_spent_of_them() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    run(&sandbox, &["budgets", "ls"])?.exits(0)?.says("There are none.")?;
    run(&sandbox, &["budgets", "ls", "--as", "agent"])?.exits(4)?.says("ROLE_REQUIRED")?;

    let path = sandbox.data().join("simulated-models.toml");
    let mut file: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
    let router = file.get_mut("model-router").and_then(toml::Value::as_table_mut).context("a router")?;
    for model in router.get_mut("model").and_then(toml::Value::as_array_mut).context("models")? {
        let prices = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000\n";
        model.as_table_mut().context("a model")?.extend(toml::from_str::<toml::Table>(prices)?);
    }
    let budget = "[[budget]]\nname = \"month\"\nscope = \"tenant\"\nperiod = \"month\"\nstop_usd_micros = 900000\n\
                  [[budget]]\nname = \"talk\"\nscope = \"session\"\nperiod = \"none\"\nstop_usd_micros = 500000\n";
    router.extend(toml::from_str::<toml::Table>(budget)?);
    std::fs::write(path.with_extension("new"), toml::to_string(&file)?)?;
    std::fs::rename(path.with_extension("new"), &path)?;
    eventually("the budgets to be there", Duration::from_secs(60), || {
        let listed = json(&sandbox, &["budgets", "ls"], 0);
        async move { Ok((listed?["budgets"][0]["name"] == "month").then_some(())) }
    })
    .await?;

    run(&sandbox, &["chat", "What is this for?", "--session", "s1"])?.exits(0)?;
    let listed = json(&sandbox, &["budgets", "ls", "--session", "s1"], 0)?;
    let talk = &listed["budgets"][0];
    assert_eq!((&talk["name"], &talk["session_id"]), (&Value::from("talk"), &Value::from("s1")), "{listed}");
    assert!(talk["spent_usd_micros"].as_str().is_some_and(|spent| spent != "0"), "{listed}");
    let shown = run(&sandbox, &["budgets", "ls"])?.exits(0)?.stdout;
    assert!(shown.starts_with("BUDGET") && shown.contains("$0.900000") && shown.contains("s1"), "{shown}");
    let dear = ["models", "explain", "--text", "Why?", "--cost-usd-micros-max", "1"];
    run(&sandbox, &dear)?.exits(1)?;
    let explained = json(&sandbox, &dear, 1)?;
    assert_eq!(explained["excluded"][0]["reason"], "COST_LIMIT_REACHED", "{explained}");
    Ok(())
}

#[test]
fn every_shell_gets_its_completions() -> anyhow::Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = Ended::of(command(Path::new("/"), &["completions", shell])?.output()?)?.exits(0)?;
        for word in ["approvals", "executions", "bulkhead"] {
            assert!(ended.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    Ok(())
}

#[test]
fn every_command_that_calls_has_an_example_and_the_exit_codes() -> anyhow::Result<()> {
    let commands = [
        "approvals ls",
        "approvals show",
        "approvals approve",
        "approvals deny",
        "approvals watch",
        "tools ls",
        "tools plan",
        "tools run",
        "executions ls",
        "executions show",
        "executions undo",
        "models ls",
        "models explain",
        "budgets ls",
        "chat",
        "audit query",
        "agent run",
    ];
    for name in commands {
        let arguments: Vec<_> = name.split(' ').chain(["--help"]).collect();
        let help = Ended::of(command(Path::new("/"), &arguments)?.output()?)?.exits(0)?.stdout;
        assert!(help.contains(&format!("Example: bulkhead {name}")), "{help}");
        assert!(help.contains("Exit codes:") && help.contains("--token-file"), "{help}");
    }
    Ok(())
}
