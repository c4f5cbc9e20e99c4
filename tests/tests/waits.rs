//! Commands that wait: for people, for changes, for models.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_provider_sim::{Action, ControlClient, Script, StatusFault, Step, ToolCall};
use bulkhead_tests::command::{Ended, command, json, run, waiting};
use bulkhead_tests::{Options, Sandbox, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json as value};

/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(60);

/// The control of the sandbox's simulator.
fn simulator(sandbox: &Sandbox) -> anyhow::Result<ControlClient> {
    Ok(ControlClient::new(sandbox.simulator()?)?)
}

fn write(path: &str) -> Step {
    let input = value!({ "path": path, "content": "by the agent\n" });
    Step::tools([ToolCall { name: "fs.write".to_owned(), input }])
}

/// A command that goes on while the test does; what it says goes to files.
fn start(sandbox: &Sandbox, arguments: &[&str], name: &str) -> anyhow::Result<Child> {
    let data = sandbox.data();
    let file = |end: &str| File::create(data.join(format!("{name}.{end}")));
    let mut command = command(&data, arguments)?;
    Ok(command
        .arg("--data")
        .arg(&data)
        .stdout(file("out")?)
        .stderr(file("err")?)
        .stdin(Stdio::null())
        .spawn()?)
}

async fn ended(sandbox: &Sandbox, mut child: Child, name: &str) -> anyhow::Result<Ended> {
    let mut look = || child.try_wait();
    let status = eventually("the command to end", BOUND, || {
        let status = look();
        async move { Ok(status?) }
    })
    .await?;
    let said = |end: &str| std::fs::read_to_string(sandbox.data().join(format!("{name}.{end}")));
    Ok(Ended { code: status.code(), stdout: said("out")?, stderr: said("err")? })
}

/// The id of the approval that waits, once one does.
async fn pending(sandbox: &Sandbox) -> anyhow::Result<String> {
    eventually("an approval", BOUND, || {
        let listed = json(sandbox, &["approvals", "ls"], 0);
        async move { Ok(listed?["approvals"][0]["approval_id"].as_str().map(str::to_owned)) }
    })
    .await
}

async fn said(file: &Path, part: &str) -> anyhow::Result<()> {
    eventually(part, BOUND, || {
        let text = std::fs::read_to_string(file);
        async move { Ok(text?.contains(part).then_some(())) }
    })
    .await
}

#[tokio::test]
async fn an_agent_waits_for_people_and_is_told_of_a_denial() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    std::fs::write(sandbox.workspace().join("a.txt"), "mine\n")?;
    let script = Script::once([write("new.txt"), write("a.txt"), Step::text("Kept it.")]);
    simulator(&sandbox)?.script("sim-primary", &script).await?;

    let agent = start(&sandbox, &["agent", "run", "improve a.txt", "--json"], "agent")?;
    let approval = pending(&sandbox).await?;
    said(&sandbox.data().join("agent.err"), &format!("bulkhead approvals approve {approval}")).await?;
    run(&sandbox, &["approvals", "deny", &approval, "--reason", "it is mine"])?.exits(0)?;

    let report = ended(&sandbox, agent, "agent").await?.exits(0)?.json()?;
    assert_eq!(report["answer"], "Kept it.", "{report:#}");
    let states: Vec<_> =
        report["calls"].as_array().into_iter().flatten().map(|call| &call["state"]).collect();
    assert_eq!(states, ["succeeded", "denied"]);
    assert_eq!(std::fs::read_to_string(sandbox.workspace().join("a.txt"))?, "mine\n");
    let requests = simulator(&sandbox)?.requests(Some("sim-primary")).await?;
    let last = serde_json::to_string(&requests.requests.last().context("no request")?.body)?;
    assert!(last.contains("it is mine"), "the model was not told: {last}");
    Ok(())
}

#[tokio::test]
async fn an_agent_stops_where_going_on_would_be_wrong() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    std::fs::write(sandbox.workspace().join("a.txt"), "mine\n")?;
    let simulator = simulator(&sandbox)?;

    let list = Step::tools([ToolCall { name: "fs.list".to_owned(), input: value!({ "path": "." }) }]);
    simulator.script("sim-primary", &Script::always(list)).await?;
    let lost = json(&sandbox, &["agent", "run", "list for ever", "--steps-max", "3"], 1)?;
    assert_eq!((&lost["outcome"], &lost["steps"]), (&value!("steps_over"), &value!(3)));

    simulator.script("sim-primary", &Script::always(write("a.txt"))).await?;
    let waits = json(&sandbox, &["agent", "run", "overwrite", "--wait", "1s"], 3)?;
    assert_eq!(waits["outcome"], "awaiting_approval");
    let listed = json(&sandbox, &["approvals", "ls"], 0)?;
    assert!(listed["approvals"][0].is_object(), "the approval keeps waiting");

    let dry = Script::once([write("new.txt"), Step::text("That would work.")]);
    simulator.script("sim-primary", &dry).await?;
    run(&sandbox, &["agent", "run", "try it", "--dry-run"])?.exits(0)?;
    assert!(!sandbox.workspace().join("new.txt").exists(), "a dry run wrote");

    let refused = Action::Status(StatusFault::new(400));
    simulator.script("sim-primary", &Script::always(refused.into())).await?;
    run(&sandbox, &["agent", "run", "anything"])?.exits(2)?.says("REQUEST_REJECTED_BY_MODEL")?;
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_and_nothing_else() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    std::fs::write(sandbox.workspace().join("a.txt"), "first")?;
    let call = ["tools", "run", "fs.write", "path=a.txt", "content=second", "--wait", "10m"];
    let child = start(&sandbox, &call, "run")?;
    let approval = pending(&sandbox).await?;
    said(&sandbox.data().join("run.err"), &approval).await?;
    kill_process(Pid::from_raw(i32::try_from(child.id())?).context("pid")?, Signal::INT)?;
    ended(&sandbox, child, "run").await?.exits(130)?.says("stays pending")?;

    run(&sandbox, &["approvals", "approve", &approval, "--yes"])?.exits(0)?;
    eventually("the approved call to run", BOUND, || {
        let text = std::fs::read_to_string(sandbox.workspace().join("a.txt"));
        async move { Ok((text? == "second").then_some(())) }
    })
    .await
}

#[tokio::test]
async fn a_watch_goes_on_from_where_it_was_when_the_service_dies() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let (_execution, first) = waiting(&sandbox, "first.txt")?;
    let mut watch = start(&sandbox, &["approvals", "watch", "--json"], "watch")?;
    let out = sandbox.data().join("watch.out");
    said(&out, &first).await?;

    sandbox.kill("approval")?;
    said(&sandbox.data().join("watch.err"), "going on after revision").await?;
    eventually("approval to be back", BOUND, || {
        let listed = run(&sandbox, &["approvals", "ls"]);
        async move { Ok((listed?.code == Some(0)).then_some(())) }
    })
    .await?;
    let (_execution, second) = waiting(&sandbox, "second.txt")?;
    said(&out, &second).await?;
    watch.kill()?;
    watch.wait()?;

    let text = std::fs::read_to_string(&out)?;
    let ids: Vec<String> = text
        .lines()
        .map(|line| {
            Ok(serde_json::from_str::<Value>(line)?["approval_id"].as_str().unwrap_or_default().to_owned())
        })
        .collect::<anyhow::Result<_>>()?;
    assert_eq!(ids, [first, second], "each change once, in order");
    Ok(())
}
