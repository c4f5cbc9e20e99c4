//! `bulkhead up`: what it starts, what it keeps running, and what it leaves behind.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{ContentBlock, GenerateRequest, ListModelsRequest, Message, Role};
use bulkhead_proto::tools::v1::ListToolsRequest;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_tests::command::run;
use bulkhead_tests::{Binary, Options, Sandbox, binary, eventually, within};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// Stores with an outbox.
const STORES: [(&str, &str); 2] = [("tool-executor", "journal.sqlite"), ("approval", "approval.db")];
const SERVICES: [&str; 4] = ["model-router", "tool-executor", "approval", "audit"];
/// What the executor has on its workspace.
const TOOLS: usize = 6;
/// The exit code where somebody else has what is needed.
const TAKEN: i32 = 69;
const SOON: Duration = Duration::from_secs(40);

async fn lists_tools(sandbox: &Sandbox) -> anyhow::Result<Option<usize>> {
    let mut executor = ToolExecutorServiceClient::new(sandbox.connect("tool-executor", "agent")?);
    let answer = executor.list_tools(ListToolsRequest::default()).await;
    Ok(answer.ok().map(|answer| answer.into_inner().tools.len()))
}

/// Whether a simulated model answers through the router.
async fn generates(sandbox: &Sandbox) -> anyhow::Result<Option<()>> {
    let mut router = ModelRouterServiceClient::new(sandbox.connect("model-router", "agent")?);
    Ok(router.generate(greeting()).await.is_ok().then_some(()))
}

fn greeting() -> GenerateRequest {
    let content = vec![ContentBlock {
        block: Some(Block::Text("Are you there?".to_owned())),
        ..ContentBlock::default()
    }];
    GenerateRequest {
        request_id: Uuid::now_v7().to_string(),
        messages: vec![Message { role: Role::User.into(), content }],
        ..GenerateRequest::default()
    }
}

/// Kills a service and waits for another process in its place, whose id it returns.
async fn restarted(sandbox: &Sandbox, service: &str) -> anyhow::Result<i32> {
    let killed = sandbox.kill(service)?;
    eventually(&format!("another {service}"), SOON, async || {
        Ok(sandbox.pids(service)?.first().copied().filter(|pid| *pid != killed))
    })
    .await
}

#[tokio::test]
async fn a_stack_without_models_comes_up_and_says_what_is_missing() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options { simulate: false, ..Options::default() }).await?;
    assert!(lists_tools(&sandbox).await?.is_some_and(|tools| tools > 0), "tools work without models");
    let mut router = ModelRouterServiceClient::new(sandbox.connect("model-router", "agent")?);
    let models = router.list_models(ListModelsRequest::default()).await?.into_inner().models;
    assert!(models.is_empty(), "{models:?}");
    let refused = router.generate(greeting()).await.expect_err("there is no route");
    let violations = refused.get_details_bad_request().context("no violation")?.field_violations;
    assert_eq!((refused.code(), violations[0].field.as_str()), (Code::InvalidArgument, "route"));
    assert!(violations[0].description.contains("no route is configured"), "{violations:?}");
    Ok(())
}

#[tokio::test]
async fn the_first_start_makes_tokens_and_keys_that_only_their_owner_reads() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let secrets = [
        "tokens/agent",
        "tokens/approver",
        "tokens/operator",
        "tokens/auditor",
        "keys/grant.key",
        "keys/log.key",
    ];
    for secret in secrets {
        let mode = std::fs::metadata(sandbox.data().join(secret))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let config = std::fs::read_to_string(sandbox.data().join("bulkhead.toml"))?;
    let token = sandbox.token("agent")?;
    assert!(token.len() > 40 && !config.contains(&token));
    let identities = std::fs::read_to_string(sandbox.data().join("identities.toml"))?;
    assert!(!identities.contains(&token), "tokens are stored as hashes");
    Ok(())
}

#[tokio::test]
async fn what_dies_is_started_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS));
    restarted(&sandbox, "tool-executor").await?;
    eventually("the tools again", SOON, async || lists_tools(&sandbox).await).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_person_has_to_mend_is_told_once_and_taken_up_when_it_is() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let config = sandbox.data().join("bulkhead.toml");
    let kept = std::fs::read_to_string(&config)?;
    std::fs::write(&config, kept.replace("[approval]", "[approval]\nnonsense = 1"))?;
    sandbox.kill("approval")?;
    let log = sandbox.data().join("logs/approval.log");
    eventually("several tries", SOON, async || {
        let tries = std::fs::read_to_string(&log)?.matches("approval.nonsense").count();
        Ok((tries >= 3).then_some(()))
    })
    .await?;
    let said = sandbox.said()?;
    assert_eq!(said.matches("approval.nonsense").count(), 1, "{said}");
    assert!(said.contains("exit code 78") && said.contains("until somebody mends that"), "{said}");
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS), "the others go on");

    std::fs::write(&config, kept)?;
    eventually("approval to be back", SOON, async || {
        Ok(sandbox.said()?.contains("approval runs again").then_some(()))
    })
    .await?;
    assert_eq!(sandbox.pids("approval")?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_simulator_that_died_is_found_where_it_was() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    restarted(&sandbox, "provider-sim").await?;
    eventually("an answer of a model", SOON, async || generates(&sandbox).await).await
}

#[tokio::test]
async fn what_dies_while_it_restarts_is_started_once_more() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    restarted(&sandbox, "model-router").await?;
    // The second process has only just begun: it is killed before it can announce itself.
    restarted(&sandbox, "model-router").await?;
    eventually("an answer of a model", SOON, async || generates(&sandbox).await).await?;
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS), "the rest of the stack is still up");
    Ok(())
}

#[tokio::test]
async fn a_stop_during_the_start_is_prompt() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.stop().await?;
    // Nobody ever writes to this pipe: every service waits for its tokens and announces nothing.
    let tokens = sandbox.data().join("identities.toml");
    std::fs::remove_file(&tokens)?;
    mknodat(CWD, &tokens, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    sandbox.launch_again()?;
    eventually("a service", SOON, async || Ok(sandbox.pids("audit")?.first().copied())).await?;
    let status = within("the stop", Duration::from_secs(10), sandbox.stop()).await??;
    assert!(status.success(), "{status}");
    for service in SERVICES {
        assert_eq!(sandbox.pids(service)?, Vec::<i32>::new(), "{service} is still there");
    }
    Ok(())
}

#[tokio::test]
async fn a_stop_drains_and_a_second_start_finds_everything() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    let token = sandbox.token("agent")?;
    let address = sandbox.address("tool-executor")?;
    let status = sandbox.stop().await?;
    assert!(status.success(), "{status}");
    for service in SERVICES {
        assert_eq!(sandbox.pids(service)?, Vec::<i32>::new(), "{service} is still there");
    }
    sandbox.start_again().await?;
    assert_eq!((sandbox.token("agent")?, sandbox.address("tool-executor")?), (token, address));
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS));
    Ok(())
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nobody_behind() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.kill_supervisor()?;
    for service in SERVICES {
        eventually(&format!("{service} to end"), SOON, async || {
            Ok(sandbox.pids(service)?.is_empty().then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stack_waits_for_what_a_killed_supervisor_left() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.kill_supervisor()?;
    // One that does not end, by what it would hold: a paused service is no such, since the kernel wakes and ends what is
    // stopped in a process group that its session forgot.
    let lock = File::options().write(true).open(sandbox.data().join("services.lock"))?;
    eventually("the services to end", SOON, async || Ok(lock.try_lock().is_ok().then_some(()))).await?;
    sandbox.launch_again()?;
    sandbox.says("Waiting for the services of an earlier `bulkhead up` to end").await?;
    drop(lock);
    sandbox.ready().await?;
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS));
    Ok(())
}

#[tokio::test]
async fn a_second_stack_on_the_same_data_is_refused_and_harms_nothing() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let second = Command::new(binary(Binary::Shipped)?)
        .args(["up", "--simulate", "--data"])
        .arg(sandbox.data())
        .output()?;
    assert_eq!(second.status.code(), Some(TAKEN));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another `bulkhead up` or `bulkhead demo` uses the folder"), "{said}");
    assert_eq!(lists_tools(&sandbox).await?, Some(TOOLS));
    let mode = std::fs::metadata(sandbox.data().join("lock"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A router that starts again reads its configuration again: it must still name the models that run.
    restarted(&sandbox, "model-router").await?;
    eventually("an answer of a model", SOON, async || generates(&sandbox).await).await?;
    Ok(())
}

#[tokio::test]
async fn a_broken_configuration_is_named_with_every_mistake() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    sandbox.stop().await?;
    let path = sandbox.data().join("bulkhead.toml");
    let config = std::fs::read_to_string(&path)?;
    let broken =
        config.replace("[approval.edge]", "[approval.edge]\nunary_timeout_ms = 0\ndrain_timeout_ms = 0");
    std::fs::write(&path, broken)?;
    let said = match sandbox.start_again().await {
        Ok(()) => anyhow::bail!("it came up with a broken configuration"),
        Err(error) => error.to_string(),
    };
    for key in ["unary_timeout_ms", "drain_timeout_ms"] {
        assert!(said.contains(key), "{key} is not named in: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stop_leaves_nothing_in_the_outboxes() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(Options::default()).await?;
    for _ in 0..3 {
        run(&sandbox, &["tools", "run", "fs.list", "path=."])?.exits(0)?;
    }
    generates(&sandbox).await?.context("a model answers")?;
    sandbox.stop().await?;
    for (service, file) in STORES {
        let store = sandbox.data().join(service).join(file);
        let options = SqliteConnectOptions::new().filename(&store).read_only(true);
        let mut store =
            options.connect().await.with_context(|| format!("cannot read {}", store.display()))?;
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut store).await?;
        assert_eq!(waiting, 0, "{service} stopped before audit had everything");
    }
    let waiting = bulkhead_outbox::waiting_in(&sandbox.data().join("model-router/outbox"))?;
    assert_eq!(waiting, 0, "model-router stopped before audit had everything");
    Ok(())
}
