//! The shipped binary with the file tools, killed in the middle.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead_edge::peer::within;
use bulkhead_proto::common::v1::Sensitivity;
use bulkhead_proto::tools::v1 as pb;
use serde_json::{Value, json};

use crate::world::{World, call, client_of, error_kind, take_back};
use pb::ExecutionState as State;

const BOUND: Duration = Duration::from_secs(20);

/// A process that is killed, never asked.
pub(crate) struct Binary {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Binary {
    fn start(world: &World) -> Self {
        Self::start_broken(world, "")
    }

    /// With failpoints, where the binary has any.
    pub(crate) fn start_broken(world: &World, failpoints: &str) -> Self {
        Self::try_start(world, failpoints).expect("announces itself")
    }

    /// None: it died before it announced itself.
    pub(crate) fn try_start(world: &World, failpoints: &str) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tool-executor"))
            .arg("--config")
            .arg(world.dir.path().join("bulkhead.toml"))
            .env(bulkhead_failpoint::VARIABLE, failpoints)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        if BufReader::new(output).read_line(&mut line).expect("a pipe") == 0 {
            child.wait().expect("is gone");
            return None;
        }
        let announced: Value = serde_json::from_str(&line).expect("a line of JSON");
        let address = announced["listening"].as_str().expect("an address").parse().expect("an address");
        Some(Self { child, address })
    }

    fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("is gone");
    }

    pub(crate) async fn execute(&self, tool: &str, arguments: &Value) -> pb::Execution {
        self.send(of(tool, arguments)).await
    }

    pub(crate) async fn send(&self, request: pb::ExecuteToolCallRequest) -> pb::Execution {
        let mut client = client_of(self.address, "scribe");
        let answer = client.execute_tool_call(within(request, BOUND)).await.expect("answers");
        answer.into_inner().execution.expect("an execution")
    }

    /// Takes an execution back, with a person's word where one is needed.
    async fn take_back(&self, world: &World, id: &str, force: bool) -> pb::Execution {
        let request = within(take_back(id, force), BOUND);
        let answer = client_of(self.address, "scribe").undo_execution(request).await.expect("answers");
        let asked = answer.into_inner().execution.expect("an execution");
        self.agreed(world, asked).await
    }

    /// What an execution becomes when people agree.
    async fn agreed(&self, world: &World, asked: pb::Execution) -> pb::Execution {
        if asked.state() == State::AwaitingApproval {
            world.approvals.approve(&asked.approval_id, "bob");
        }
        self.until(&asked.execution_id, State::Succeeded).await
    }

    async fn until(&self, id: &str, state: State) -> pb::Execution {
        let deadline = Instant::now() + BOUND;
        loop {
            let request = pb::GetExecutionRequest { execution_id: id.to_owned() };
            let got = client_of(self.address, "scribe").get_execution(request).await.expect("found");
            let now = got.into_inner().execution.expect("an execution");
            if now.state() == state {
                return now;
            }
            assert!(Instant::now() < deadline, "never {state:?}: {now:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Already gone when the test killed it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn of(tool: &str, arguments: &Value) -> pb::ExecuteToolCallRequest {
    let mut request = call(arguments);
    if let Some(call) = &mut request.call {
        tool.clone_into(&mut call.tool);
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_made_read_labelled_deleted_and_brought_back() {
    let world = World::idle().await;
    let binary = Binary::start(&world);
    let made = binary.execute("fs.write", &json!({ "path": "a.md", "content": "one\n" })).await;
    assert_eq!((made.state(), world.read("a.md").as_deref()), (State::Succeeded, Some("one\n")));
    let read = binary.execute("fs.read", &json!({ "path": "a.md" })).await;
    assert_eq!(read.state(), State::Succeeded);
    assert!(read.result.expect("a result").content.contains("one"));

    world.write("prod.env", "TOKEN=x\n");
    let secret = binary.execute("fs.read", &json!({ "path": "prod.env" })).await;
    let labels = secret.result.expect("a result").sensitivity;
    assert!(labels.contains(&Sensitivity::Credentials.into()), "{labels:?}");

    let asked = binary.execute("fs.delete", &json!({ "path": "a.md" })).await;
    assert_eq!(asked.state(), State::AwaitingApproval);
    assert!(asked.plan.expect("a plan").effects[0].preview.contains("-one"));
    world.approvals.approve(&asked.approval_id, "bob");
    let done = binary.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a.md"), None);

    let undo = within(take_back(&done.execution_id, false), BOUND);
    let undo = client_of(binary.address, "scribe").undo_execution(undo).await.expect("undoes");
    assert_eq!(undo.into_inner().execution.expect("one").state(), State::Succeeded);
    assert_eq!(world.read("a.md").as_deref(), Some("one\n"));
    binary.until(&done.execution_id, State::Undone).await;

    let escape = binary.execute("fs.write", &json!({ "path": "../x", "content": "" })).await;
    assert_eq!((escape.state(), error_kind(&escape)), (State::Failed, "PATH_NOT_ALLOWED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_people_think_loses_nothing_and_repeats_nothing() {
    let world = World::idle().await;
    world.write("a.md", "one\n");
    let binary = Binary::start(&world);
    let request = of("fs.write", &json!({ "path": "a.md", "content": "two\n" }));
    let asked = binary.send(request.clone()).await;
    assert_eq!(asked.state(), State::AwaitingApproval);
    binary.kill();
    world.approvals.approve(&asked.approval_id, "bob");

    let binary = Binary::start(&world);
    let done = binary.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a.md").as_deref(), Some("two\n"));
    binary.kill();

    world.write("a.md", "three\n");
    let binary = Binary::start(&world);
    let replayed = binary.send(request).await;
    assert_eq!((replayed.state(), replayed.execution_id), (State::Succeeded, done.execution_id.clone()));
    assert_eq!(world.read("a.md").as_deref(), Some("three\n"));
    let story = ["tool.requested", "tool.intent", "tool.outcome succeeded"];
    world.until_told(&done.execution_id, &story).await;
    assert_eq!(world.approvals.all().len(), 1);

    // What ran in another process, after the kill, is in the trace that asked.
    assert_eq!(done.trace_id.len(), 32);
    let events = world.audit.events();
    let about = events.iter().filter(|event| event.subject_id == done.execution_id);
    assert!(about.clone().all(|event| event.trace_id == done.trace_id), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_many_writes_leave_each_done_or_not_done() {
    let world = World::idle().await;
    let mut requests = Vec::new();
    for round in 0..4 {
        let binary = Binary::start(&world);
        let sent: Vec<_> = (0..6)
            .map(|n| of("fs.write", &json!({ "path": format!("{round}-{n}.md"), "content": "x\n" })))
            .collect();
        let mut client = client_of(binary.address, "scribe");
        let first = client.execute_tool_call(within(sent[0].clone(), BOUND)).await.expect("answers");
        assert_eq!(first.into_inner().execution.expect("one").state(), State::Succeeded);
        let sending = sent.iter().skip(1).map(|request| {
            let mut client = client.clone();
            let request = within(request.clone(), BOUND);
            // Some are answered, some are torn off by the kill; what they did is looked up below.
            async move { client.execute_tool_call(request).await.is_ok() }
        });
        let kill = async {
            let seen = format!("{round}-1.md");
            let deadline = Instant::now() + BOUND;
            while world.read(&seen).is_none() && Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
            binary.kill();
        };
        tokio::join!(futures::future::join_all(sending), kill);
        requests.extend(sent);
    }
    let binary = Binary::start(&world);
    for request in requests {
        let arguments = request.call.as_ref().expect("a call").arguments_json.clone();
        let path = serde_json::from_str::<Value>(&arguments).expect("json")["path"].clone();
        let path = path.as_str().expect("a path");
        let settled = binary.send(request).await;
        match settled.state() {
            State::Succeeded => assert_eq!(world.read(path).as_deref(), Some("x\n"), "{path}"),
            State::Failed => assert_eq!(world.read(path), None, "{path}"),
            other => unreachable!("{path} is {other:?}"),
        }
        let intents = || world.audit.story(&settled.execution_id);
        crate::world::until("an outcome", || intents().len() == 2, intents).await;
        assert_eq!(intents()[0], "tool.intent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_question_and_its_answer_loses_nothing() {
    let world = World::idle().await;
    world.write("a.md", "one\n");
    let binary = Binary::start(&world);
    world.approvals.set_mute(true);
    let mut client = client_of(binary.address, "scribe");
    let request = of("fs.write", &json!({ "path": "a.md", "content": "two\n" }));
    let torn = async { client.execute_tool_call(within(request, BOUND)).await.is_err() };
    let kill = async {
        crate::world::until("asked", || !world.approvals.all().is_empty(), || ()).await;
        binary.kill();
    };
    let (torn, ()) = tokio::join!(torn, kill);
    assert!(torn, "the caller is never answered");
    world.approvals.approve(&world.approvals.all()[0].approval_id, "bob");
    world.approvals.set_mute(false);

    let binary = Binary::start(&world);
    let mut client = client_of(binary.address, "scribe");
    let listed = client.list_executions(pb::ListExecutionsRequest::default()).await.expect("lists");
    let listed = listed.into_inner().executions.remove(0);
    binary.until(&listed.execution_id, State::Succeeded).await;
    assert_eq!((world.read("a.md").as_deref(), world.approvals.all().len()), (Some("two\n"), 1));
    let story = ["tool.requested", "tool.intent", "tool.outcome succeeded"];
    world.until_told(&listed.execution_id, &story).await;
}

/// The hash that the plan of an execution promised for afterwards.
fn promised(execution: &pb::Execution) -> String {
    execution.plan.as_ref().expect("a plan").effects[0].after_sha256.clone()
}

fn hash(content: Option<&str>) -> String {
    content.map(bulkhead_canonical_json::sha256_hex).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_undone_to_the_byte_and_that_again() {
    let world = World::idle().await;
    let binary = Binary::start(&world);
    let write = |path: &str, content: &str| of("fs.write", &json!({ "path": path, "content": content }));
    let delete = of("fs.delete", &json!({ "path": "gone.md" }));
    let cases = [
        ("new/folder/made.md", None, Some("made\n"), write("new/folder/made.md", "made\n")),
        ("over.md", Some("one\n"), Some("two\n"), write("over.md", "two\n")),
        ("gone.md", Some("three\n"), None, delete),
    ];
    for (path, before, after, request) in cases {
        if let Some(before) = before {
            world.write(path, before);
        }
        let mut last = binary.agreed(&world, binary.send(request).await).await;
        for expected in [before, after, before, after] {
            let undone = last.execution_id.clone();
            last = binary.take_back(&world, &undone, false).await;
            assert_eq!(world.read(path).as_deref(), expected, "{path}");
            assert_eq!(promised(&last), hash(expected), "{path}");
            binary.until(&undone, State::Undone).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forced_undo_displaced_comes_back() {
    let world = World::idle().await;
    let binary = Binary::start(&world);
    world.write("over.md", "one\n");
    let overwrite = of("fs.write", &json!({ "path": "over.md", "content": "two\n" }));
    let create = of("fs.write", &json!({ "path": "made.md", "content": "two\n" }));
    for (path, before, request) in [("over.md", Some("one\n"), overwrite), ("made.md", None, create)] {
        let done = binary.agreed(&world, binary.send(request).await).await;
        world.write(path, "a person's own words\n");
        let forced = binary.take_back(&world, &done.execution_id, true).await;
        assert_eq!(world.read(path).as_deref(), before);
        let back = binary.take_back(&world, &forced.execution_id, false).await;
        assert_eq!(world.read(path).as_deref(), Some("a person's own words\n"));
        assert_eq!(promised(&back), hash(Some("a person's own words\n")));
    }
}

/// What one call may have done exactly once: a token that was moved, or a line that was added.
struct Once {
    request: pb::ExecuteToolCallRequest,
    done: fn(&World, &str) -> usize,
    name: String,
}

fn moved(world: &World, name: &str) -> usize {
    let (at_old, at_new) = (world.read(name), world.read(&format!("done/{name}")));
    match (at_old.as_deref(), at_new.as_deref()) {
        (Some(token), None) if token == name => 0,
        (None, Some(token)) if token == name => 1,
        other => unreachable!("{name} is {other:?}"),
    }
}

fn added(world: &World, name: &str) -> usize {
    world.read("log.md").expect("there").lines().filter(|line| *line == name).count()
}

/// Tokens of their own to move, and one log for all.
fn workload(world: &World, round: usize) -> Vec<Once> {
    let tokens = (0..5).map(|n| {
        let name = format!("token-{round}-{n}");
        world.write(&name, &name);
        let request = of("fs.move", &json!({ "from": name, "to": format!("done/{name}") }));
        Once { request, done: moved, name }
    });
    let lines = (0..5).map(|n| {
        let name = format!("line {round} {n}");
        let request = of("fs.append", &json!({ "path": "log.md", "content": format!("{name}\n") }));
        Once { request, done: added, name }
    });
    tokens.chain(lines).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_moves_and_appends_do_none_of_them_twice() {
    let world = World::idle().await;
    world.write("log.md", "begin\n");
    let mut all = Vec::new();
    for round in 0..4 {
        let binary = Binary::start(&world);
        let sent = workload(&world, round);
        let client = client_of(binary.address, "scribe");
        let sending = sent.iter().map(|once| {
            let mut client = client.clone();
            let request = within(once.request.clone(), BOUND);
            // Some are answered, some are torn off by the kill; what they did is looked up below.
            async move { client.execute_tool_call(request).await.is_ok() }
        });
        let kill = async {
            // While it is under way a token has no name, so only what has arrived is counted.
            let arrived = |once: &&Once| world.read(&format!("done/{}", once.name)).is_some();
            let seen = || sent.iter().filter(arrived).count();
            let deadline = Instant::now() + BOUND;
            while seen() < 1 + round && Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
            binary.kill();
        };
        tokio::join!(futures::future::join_all(sending), kill);
        all.extend(sent);
    }
    let binary = Binary::start(&world);
    for once in &all {
        let mut request = once.request.clone();
        for attempt in 0.. {
            let settled = binary.send(request.clone()).await;
            let done = (once.done)(&world, &once.name);
            match settled.state() {
                State::Succeeded => assert_eq!(done, 1, "{} at {attempt}", once.name),
                State::Failed | State::Stale => assert_eq!(done, 0, "{} at {attempt}", once.name),
                other => unreachable!("{} is {other:?}", once.name),
            }
            if done == 1 {
                assert_eq!(binary.send(request).await.execution_id, settled.execution_id);
                assert_eq!((once.done)(&world, &once.name), 1, "told again, not done again");
                break;
            }
            assert!(attempt < 2, "{} is never done", once.name);
            let call = request.call.take().expect("a call");
            let arguments: Value = serde_json::from_str(&call.arguments_json).expect("json");
            request = of(&call.tool, &arguments);
        }
    }
    assert_eq!(world.read("log.md").expect("there").lines().count(), 1 + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_and_an_append_run_without_a_person_and_are_told_with_their_kinds() {
    let world = World::idle().await;
    world.write("a.md", "one\n");
    let binary = Binary::start(&world);
    let moved = binary.execute("fs.move", &json!({ "from": "a.md", "to": "new/b.md" })).await;
    assert_eq!((moved.state(), moved.approval_id.as_str()), (State::Succeeded, ""));
    let effect = moved.plan.as_ref().expect("a plan").effects[0].clone();
    let told = (effect.kind.as_str(), effect.target.as_str(), effect.destination.as_str());
    assert_eq!(told, ("file.move", "work/a.md", "work/new/b.md"));
    let appended = binary.execute("fs.append", &json!({ "path": "new/b.md", "content": "two\n" })).await;
    assert_eq!((appended.state(), appended.approval_id.as_str()), (State::Succeeded, ""));
    assert_eq!(appended.plan.expect("a plan").policy_ids, ["moving-and-appending-are-free"]);
    world.until_told(&moved.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
    let events = world.audit.events();
    let intent = events.iter().find(|event| event.subject_id == moved.execution_id).expect("an intent");
    let attributes: Value = serde_json::from_str(&intent.attributes_json).expect("json");
    assert_eq!(attributes["effects"][0]["destination"], "work/new/b.md");
    assert_eq!(attributes["arguments"], json!({ "from": "a.md", "to": "new/b.md" }));
    assert!(!intent.attributes_json.contains("two"));

    binary.take_back(&world, &appended.execution_id, false).await;
    assert_eq!(world.read("new/b.md").as_deref(), Some("one\n"));
    binary.take_back(&world, &moved.execution_id, false).await;
    assert_eq!((world.read("a.md").as_deref(), world.read("new/b.md")), (Some("one\n"), None));
    let missing = binary.execute("fs.append", &json!({ "path": "none.md", "content": "x" })).await;
    assert_eq!((missing.state(), error_kind(&missing)), (State::Failed, "NOT_FOUND"));
    world.write("b.md", "there\n");
    let taken = binary.execute("fs.move", &json!({ "from": "a.md", "to": "b.md" })).await;
    assert_eq!((taken.state(), error_kind(&taken)), (State::Failed, "ALREADY_EXISTS"));
}

/// Adds one line through the service, under a new request for as long as somebody else was faster.
async fn add(binary: &Binary, line: &str) -> usize {
    for tries in 1..=1_000 {
        let added = binary.execute("fs.append", &json!({ "path": "log.md", "content": line })).await;
        match added.state() {
            State::Succeeded => return tries,
            State::Stale => {}
            other => unreachable!("{line} is {other:?}"),
        }
    }
    unreachable!("{line} is never added")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_callers_who_add_to_one_file_none_is_lost_or_doubled() {
    let world = World::idle().await;
    world.write("log.md", "");
    let binary = Binary::start(&world);
    let lines: Vec<_> = (0..16).map(|caller| format!("line of {caller}\n")).collect();
    let tries = futures::future::join_all(lines.iter().map(|line| add(&binary, line))).await;
    assert!(tries.into_iter().sum::<usize>() > lines.len(), "it has to be a race");
    let text = world.read("log.md").expect("there");
    let mut found: Vec<_> = text.split_inclusive('\n').collect();
    found.sort_unstable();
    let mut wanted: Vec<_> = lines.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
