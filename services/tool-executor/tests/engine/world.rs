//! A running executor and everything around it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bulkhead_edge::peer::{Credentials, Peer, dial_with, within};
use bulkhead_edge::tokens::token_hash;
use bulkhead_edge::{Settings, Tasks, wire};
use bulkhead_grant::SigningKey;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::tools::v1 as pb;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_tool_executor::tool::Tool;
use bulkhead_tool_executor::{Config, NAME, serve_tools};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::fakes::{self, Approvals, Audit, SEED};
use crate::note::{Note, Script};

/// How long a condition may take to come true.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Name, kind, owner and roles of everybody; the name is the token.
const PEOPLE: [(&str, &str, Option<&str>, &str); 5] = [
    ("scribe", "agent", Some("ada"), "agent"),
    ("other", "agent", None, "agent"),
    ("olga", "person", None, "operator"),
    ("aud", "person", None, "auditor"),
    ("bob", "person", None, "approver"),
];

pub(crate) type Client = ToolExecutorServiceClient<Peer>;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) approvals: Approvals,
    pub(crate) audit: Audit,
    pub(crate) script: Script,
    service: Option<Service>,
    fakes: Tasks,
}

struct Service {
    thread: JoinHandle<()>,
    address: SocketAddr,
    stop: CancellationToken,
    crash: CancellationToken,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more lines in `[tool-executor]`.
    pub(crate) async fn start_with(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), settings).await
    }

    /// Under a policy of its own.
    pub(crate) async fn start_under(policy: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("policy.cedar");
        fs::write(&path, policy).expect("a policy");
        Self::start_in(dir, &format!("policy = {path:?}")).await
    }

    async fn start_in(dir: TempDir, settings: &str) -> Self {
        let mut world = Self::lay_out(dir, settings).await;
        world.boot();
        world
    }

    /// Everything but the service itself.
    pub(crate) async fn idle() -> Self {
        Self::lay_out(tempfile::tempdir().expect("a folder"), "").await
    }

    async fn lay_out(dir: TempDir, settings: &str) -> Self {
        let (approvals, audit, fakes) = (Approvals::default(), Audit::default(), Tasks::new());
        let address = fakes::serve(approvals.clone(), audit.clone(), &fakes).await;
        fs::create_dir(dir.path().join("notes")).expect("a folder");
        fs::write(dir.path().join("own.token"), "executor").expect("a token");
        fs::write(dir.path().join("tokens.toml"), tokens()).expect("tokens");
        let seed_file = dir.path().join("grant.key");
        bulkhead_grant::write_new_key(&seed_file, SEED).expect("a key");
        let own = dir.path().join("own.token");
        let text = format!(
            "[tool-executor]\ndata = {data:?}\ngrant_keys = [{key:?}]\napproval_recheck_ms = 50\n{settings}\n\
             [tool-executor.edge]\nlisten = \"127.0.0.1:0\"\ntokens = {tokens:?}\n\
             [tool-executor.audit]\nendpoint = \"http://{address}\"\ntoken_file = {own:?}\n\
             [tool-executor.approval]\nendpoint = \"http://{address}\"\ntoken_file = {own:?}\n\
             [[tool-executor.root]]\nname = \"work\"\npath = {work:?}\n",
            work = dir.path().join("notes"),
            data = dir.path().join("data"),
            key = seed_file.with_extension("pub"),
            tokens = dir.path().join("tokens.toml"),
        );
        fs::write(dir.path().join("bulkhead.toml"), text).expect("a configuration");
        Self { dir, approvals, audit, script: Script::default(), service: None, fakes }
    }

    /// Starts the service on a runtime of its own, so that it can be torn away from under its work.
    pub(crate) fn boot(&mut self) {
        let settings = Settings::load(&self.dir.path().join("bulkhead.toml"), NAME).expect("settings");
        let config = settings.read(Config::read).expect("a configuration");
        let tool: Arc<dyn Tool> = Arc::new(Note::new(self.notes(), self.script.clone()));
        let (announce, announced) = mpsc::channel();
        let (stop, crash) = (CancellationToken::new(), CancellationToken::new());
        let (shutdown, torn) = (stop.clone(), crash.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.expect("a runtime");
            let announce = Box::new(move |address| announce.send(address).expect("somebody waits"));
            let ended = runtime.block_on(async {
                tokio::select! {
                    ended = serve_tools(config, vec![tool], announce, shutdown) => ended,
                    () = torn.cancelled() => Ok(()),
                }
            });
            ended.expect("serves");
            // Waits for no task, only for the threads that run them.
            runtime.shutdown_timeout(BOUND);
        });
        let address = announced.recv_timeout(BOUND).expect("it starts");
        self.service = Some(Service { thread, address, stop, crash });
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(&mut self) {
        let service = self.service.take().expect("runs");
        service.stop.cancel();
        service.thread.join().expect("stops");
    }

    /// Ends it in the middle of everything.
    pub(crate) fn crash(&mut self) {
        let service = self.service.take().expect("runs");
        service.crash.cancel();
        service.thread.join().expect("ends");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.service.as_ref().expect("runs").address
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        client_of(self.address(), name)
    }

    pub(crate) fn notes(&self) -> PathBuf {
        self.dir.path().join("notes")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.path().join("data/journal.sqlite")
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.notes().join(name), content).expect("writes");
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.notes().join(name)).ok()
    }

    pub(crate) fn begun(&self) -> usize {
        self.script.begun.load(Ordering::SeqCst)
    }

    /// As the agent `scribe`.
    pub(crate) async fn execute(&self, request: pb::ExecuteToolCallRequest) -> Result<pb::Execution, Status> {
        let answer = self.client("scribe").execute_tool_call(within(request, BOUND)).await?;
        Ok(answer.into_inner().execution.expect("an execution"))
    }

    /// Calls as the agent `scribe`, who goes away when `until` has come.
    pub(crate) async fn leave(&self, request: pb::ExecuteToolCallRequest, until: impl Future<Output = ()>) {
        let calling = self.execute(request);
        tokio::select! {
            answer = calling => panic!("answered: {answer:?}"),
            () = until => {}
        }
    }

    /// Begins a call whose caller goes away while it runs; the script must hold it.
    pub(crate) async fn begin(&self, request: pb::ExecuteToolCallRequest) -> pb::Execution {
        let begun = self.begun();
        let running = || self.begun() > begun;
        self.leave(request, until("begun", running, || ())).await;
        let execution = self.executions().await.swap_remove(0);
        assert_eq!(execution.state(), pb::ExecutionState::Running);
        execution
    }

    /// What there is, newest first.
    pub(crate) async fn executions(&self) -> Vec<pb::Execution> {
        let listed = self.client("scribe").list_executions(pb::ListExecutionsRequest::default()).await;
        listed.expect("lists").into_inner().executions
    }

    pub(crate) async fn undo(
        &self,
        who: &str,
        request: pb::UndoExecutionRequest,
    ) -> Result<pb::Execution, Status> {
        let answer = self.client(who).undo_execution(within(request, BOUND)).await?;
        Ok(answer.into_inner().execution.expect("an execution"))
    }

    pub(crate) async fn get(&self, id: &str) -> pb::Execution {
        let request = pb::GetExecutionRequest { execution_id: id.to_owned() };
        let answer = self.client("scribe").get_execution(request).await.expect("found");
        answer.into_inner().execution.expect("an execution")
    }

    /// Waits until an execution is in a state.
    pub(crate) async fn until(&self, id: &str, state: pb::ExecutionState) -> pb::Execution {
        let mut last = None;
        let deadline = Instant::now() + BOUND;
        while Instant::now() < deadline {
            let now = self.get(id).await;
            if now.state() == state {
                return now;
            }
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {state:?}: {last:?}");
    }

    /// Waits until the audit service knows this story of a subject.
    pub(crate) async fn until_told(&self, subject: &str, story: &[&str]) {
        until(&format!("{story:?}"), || self.audit.story(subject) == story, || self.audit.story(subject))
            .await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.fakes.stopping().cancel();
        if let Some(service) = &self.service {
            service.crash.cancel();
        }
    }
}

/// A client of the service at an address.
pub(crate) fn client_of(address: SocketAddr, name: &str) -> Client {
    let credentials = Credentials::new(name).expect("a token");
    ToolExecutorServiceClient::new(dial_with(&format!("http://{address}"), credentials).expect("an address"))
}

/// Waits for a condition, for at most the bound.
pub(crate) async fn until<T: std::fmt::Debug>(
    what: &str,
    condition: impl Fn() -> bool,
    seen: impl Fn() -> T,
) {
    let deadline = Instant::now() + BOUND;
    while !condition() {
        assert!(Instant::now() < deadline, "never {what}; last: {:?}", seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn tokens() -> String {
    let entry = |(name, kind, owner, role): (&str, &str, Option<&str>, &str)| {
        let owner = owner.map(|owner| format!("owner = {owner:?}\n")).unwrap_or_default();
        format!(
            "[[token]]\nhash = {:?}\ntenant = \"default\"\nkind = {kind:?}\nname = {name:?}\n{owner}roles = [{role:?}]\n",
            token_hash(name)
        )
    };
    PEOPLE.into_iter().map(entry).collect()
}

/// A request under a fresh id.
pub(crate) fn call(arguments: &Value) -> pb::ExecuteToolCallRequest {
    pb::ExecuteToolCallRequest {
        request_id: Uuid::now_v7().to_string(),
        call: Some(pb::ToolCall { tool: "note".into(), arguments_json: arguments.to_string() }),
        context: Some(RunContext {
            session_id: "s1".into(),
            run_id: "r1".into(),
            step: 1,
            ..RunContext::default()
        }),
        wait_for_approval: None,
        ..pb::ExecuteToolCallRequest::default()
    }
}

pub(crate) fn put(name: &str, content: &str) -> pb::ExecuteToolCallRequest {
    call(&json!({ "op": "put", "name": name, "content": content }))
}

pub(crate) fn drop_note(name: &str) -> pb::ExecuteToolCallRequest {
    call(&json!({ "op": "drop", "name": name }))
}

pub(crate) fn waiting(mut request: pb::ExecuteToolCallRequest, wait: Duration) -> pb::ExecuteToolCallRequest {
    request.wait_for_approval = Some(wire::duration(wait));
    request
}

pub(crate) fn dry(mut request: pb::ExecuteToolCallRequest) -> pb::ExecuteToolCallRequest {
    if let Some(context) = &mut request.context {
        context.dry_run = true;
    }
    request
}

pub(crate) fn take_back(id: &str, force: bool) -> pb::UndoExecutionRequest {
    pb::UndoExecutionRequest {
        request_id: Uuid::now_v7().to_string(),
        execution_id: id.to_owned(),
        force,
        wait_for_approval: None,
        context: None,
    }
}

/// Kind of the error in an execution's result.
pub(crate) fn error_kind(execution: &pb::Execution) -> &str {
    let error = execution.result.as_ref().and_then(|result| result.error.as_ref());
    error.map_or("", |error| error.kind.as_str())
}

/// The public half of a key that is not pinned.
pub(crate) fn foreign_seed() -> [u8; 32] {
    let seed = [8; 32];
    assert_ne!(SigningKey::from_seed(seed).id(), SigningKey::from_seed(SEED).id());
    seed
}
