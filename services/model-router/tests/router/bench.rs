//! A router in process with everything it talks to, on free ports.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bulkhead_edge::Settings;
use bulkhead_edge::peer::{self, Credentials, Peer};
use bulkhead_edge::tokens::token_hash;
use bulkhead_model_router::{Config, NAME, serve};
use bulkhead_proto::audit::v1 as audit;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::common::v1::{RunContext, Sensitivity};
use bulkhead_proto::router::v1 as pb;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_provider_sim::{ControlClient, RecordedRequest, Running, Script, Simulator, Step};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub(crate) const TOKEN: &str = "agent-token";
/// Of a person who may see what is spent.
const OPERATOR_TOKEN: &str = "operator-token";
pub(crate) const KEY: &str = "key-that-nobody-may-see-0123456789";
/// Longer than any test needs; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a test may set before the router starts.
pub(crate) struct Plan {
    /// More keys of `[model-router]`.
    pub(crate) settings: &'static str,
    /// More keys of every model.
    pub(crate) model: &'static str,
    /// More keys of `primary` and `fallback`.
    pub(crate) cloud_model: &'static str,
    /// Wire format of `primary` and `fallback`.
    pub(crate) cloud_provider: &'static str,
    /// More keys of every route.
    pub(crate) route: &'static str,
    /// What the agent may do.
    pub(crate) role: &'static str,
    /// Base URL of the models called `local`.
    pub(crate) local_url: Option<String>,
    /// Base URL of the model called `primary`.
    pub(crate) primary_url: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            settings: "retry_base_ms = 10",
            model: "",
            cloud_model: "",
            cloud_provider: "anthropic",
            route: "",
            role: "agent",
            local_url: None,
            primary_url: None,
        }
    }
}

pub(crate) struct Bench {
    pub(crate) simulator: Running,
    pub(crate) control: ControlClient,
    pub(crate) client: ModelRouterServiceClient<Peer>,
    pub(crate) events: Arc<Mutex<Vec<audit::Event>>>,
    /// While set, the audit service takes nothing.
    pub(crate) audit_is_down: Arc<AtomicBool>,
    pub(crate) folder: TempDir,
    address: String,
    // Dropped in this order: the router before those it talks to.
    router: Option<Router>,
    _running: JoinSet<()>,
}

/// A route `default` over `primary` and `fallback` (Anthropic, unless planned otherwise) and `local` (Ollama), `cloud` without the
/// last, `short` with `primary` alone.
pub(crate) async fn bench(plan: Plan) -> Bench {
    let mut running = JoinSet::new();
    let events = Arc::default();
    let is_down = Arc::default();
    let audit = audit_service(Arc::clone(&events), Arc::clone(&is_down), &mut running).await;
    Bench { audit_is_down: is_down, ..assemble(plan, &audit, events, running).await }
}

/// The same with another audit service.
pub(crate) async fn with_audit(plan: Plan, audit: &str) -> Bench {
    assemble(plan, audit, Arc::default(), JoinSet::new()).await
}

async fn assemble(
    plan: Plan,
    audit: &str,
    events: Arc<Mutex<Vec<audit::Event>>>,
    running: JoinSet<()>,
) -> Bench {
    let simulator = Simulator::start("127.0.0.1:0".parse().expect("an address")).await.expect("starts");
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &simulator.url(), audit, &plan);
    let (address, router) = start(folder.path()).await;
    Bench {
        control: ControlClient::new(simulator.address()).expect("a client"),
        client: client(&address),
        audit_is_down: Arc::default(),
        address,
        simulator,
        events,
        folder,
        router: Some(router),
        _running: running,
    }
}

pub(crate) fn client(address: &str) -> ModelRouterServiceClient<Peer> {
    client_with(address, TOKEN)
}

fn client_with(address: &str, token: &str) -> ModelRouterServiceClient<Peer> {
    let credentials = Credentials::new(token).expect("a token");
    ModelRouterServiceClient::new(
        peer::dial_with(&format!("http://{address}"), credentials).expect("an address"),
    )
}

/// The router on a thread and runtime of its own, as in its process.
struct Router {
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the router panicked");
    }
}

/// Ends the child when the test ends, however it ends.
pub(crate) struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).expect("killed");
    }
}

impl Reaped {
    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

/// The router's own binary over the configuration in the folder.
pub(crate) fn child_command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-router"));
    command.arg("--config").arg(folder.join("bulkhead.toml"));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Starts it and waits until it serves.
pub(crate) async fn run_child(command: Command) -> (Reaped, ModelRouterServiceClient<Peer>) {
    let (child, address) = serving_child(command).await;
    (child, client(&address))
}

/// The same, for its address.
pub(crate) async fn serving_child(mut command: Command) -> (Reaped, String) {
    let mut child = Reaped(command.spawn().expect("starts"));
    let stdout = child.0.stdout.take().expect("piped");
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = line.await.expect("joins").expect("a line");
    let announced: Value = serde_json::from_str(&line).expect("JSON");
    (child, announced["listening"].as_str().expect("an address").to_owned())
}

async fn start(folder: &Path) -> (String, Router) {
    let settings = Settings::load(&folder.join("bulkhead.toml"), NAME).expect("settings");
    let loaded = settings.follow(Config::read).expect("a configuration");
    let (announce, announced) = oneshot::channel();
    let announce = Box::new(move |address| announce.send(address).expect("awaited"));
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(serve(loaded, announce, token)).expect("serves");
    });
    let address = announced.await.expect("announced").to_string();
    (address, Router { shutdown, thread: Some(thread) })
}

pub(crate) fn write_config(folder: &Path, simulator: &str, audit: &str, plan: &Plan) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    let (hash, operator, role) = (token_hash(TOKEN), token_hash(OPERATOR_TOKEN), plan.role);
    write(
        "tokens.toml",
        &format!(
            "[[token]]\nhash = \"{hash}\"\ntenant = \"default\"\nkind = \"agent\"\nname = \"scribe\"\nroles = [\"{role}\"]\n\
             [[token]]\nhash = \"{operator}\"\ntenant = \"default\"\nkind = \"person\"\nname = \"olga\"\nroles = [\"operator\"]\n"
        ),
    );
    write("token", "router-token\n");
    write("key", KEY);
    let folder = folder.display();
    let Plan { settings, model, cloud_model, cloud_provider, route, .. } = plan;
    // Where the provider's own base URL ends.
    let version = if cloud_provider.starts_with("openai") { "/v1" } else { "" };
    let cloud = |name: &str, url: &str| {
        format!(
            "[[model-router.model]]\nname = \"{name}\"\nprovider = \"{cloud_provider}\"\nbase_url = \"{url}{version}\"\n\
         provider_model = \"{name}\"\nlocal = false\napi_key_file = \"{folder}/key\"\n{model}\n{cloud_model}\n"
        )
    };
    let local_url = plan.local_url.as_deref().unwrap_or(simulator);
    let text = format!(
        "[model-router]\ndata = \"{folder}/data\"\n{settings}\n\
         [model-router.edge]\nlisten = \"127.0.0.1:0\"\ndrain_timeout_ms = 100\ntokens = \"{folder}/tokens.toml\"\n\
         [model-router.audit]\nendpoint = \"{audit}\"\ntoken_file = \"{folder}/token\"\n{}{}\
         [[model-router.model]]\nname = \"local\"\nprovider = \"ollama\"\nbase_url = \"{local_url}\"\n\
         provider_model = \"local\"\nlocal = true\n{model}\n\
         [[model-router.route]]\nname = \"default\"\nchain = [\"primary\", \"fallback\", \"local\"]\n{route}\n\
         [[model-router.route]]\nname = \"cloud\"\nchain = [\"primary\", \"fallback\"]\n{route}\n\
         [[model-router.route]]\nname = \"short\"\nchain = [\"primary\"]\n{route}\n",
        cloud("primary", plan.primary_url.as_deref().unwrap_or(simulator)),
        cloud("fallback", simulator),
    );
    write("bulkhead.toml", &text);
}

/// Changes the configuration in a folder, as an editor does that writes a new file.
pub(crate) fn configure(folder: &Path, change: impl FnOnce(String) -> String) {
    let (path, new) = (folder.join("bulkhead.toml"), folder.join("bulkhead.toml.new"));
    let text = change(std::fs::read_to_string(&path).expect("readable"));
    std::fs::write(&new, text).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

struct Log(Arc<Mutex<Vec<audit::Event>>>, Arc<AtomicBool>);

#[tonic::async_trait]
impl AuditService for Log {
    async fn append_events(
        &self,
        request: Request<audit::AppendEventsRequest>,
    ) -> Result<Response<audit::AppendEventsResponse>, Status> {
        if self.1.load(Ordering::Relaxed) {
            return Err(Status::unavailable("down"));
        }
        self.0.lock().expect("not poisoned").extend(request.into_inner().events);
        Ok(Response::new(audit::AppendEventsResponse::default()))
    }
}

async fn audit_service(
    events: Arc<Mutex<Vec<audit::Event>>>,
    is_down: Arc<AtomicBool>,
    running: &mut JoinSet<()>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server =
        tonic::transport::Server::builder().add_service(AuditServiceServer::new(Log(events, is_down)));
    running.spawn(async move {
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("serves");
    });
    format!("http://{address}")
}

/// A port where nobody listens.
pub(crate) async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

pub(crate) fn request() -> pb::GenerateRequest {
    let text = pb::content_block::Block::Text("Sum up the minutes of the meeting in March.".into());
    let content = vec![pb::ContentBlock { block: Some(text), ..pb::ContentBlock::default() }];
    pb::GenerateRequest {
        request_id: Uuid::new_v4().to_string(),
        messages: vec![pb::Message { role: pb::Role::User.into(), content }],
        ..pb::GenerateRequest::default()
    }
}

pub(crate) fn on(route: &str) -> pb::GenerateRequest {
    pb::GenerateRequest { route: route.into(), ..request() }
}

pub(crate) fn sensitive(route: &str) -> pb::GenerateRequest {
    let sensitivity = vec![Sensitivity::Credentials.into()];
    let context = RunContext { sensitivity, session_id: "s1".into(), ..RunContext::default() };
    pb::GenerateRequest { context: Some(context), ..on(route) }
}

impl Bench {
    pub(crate) async fn script(&self, model: &str, script: Script) {
        self.control.script(model, &script).await.expect("scripted");
    }

    pub(crate) async fn always(&self, model: &str, step: Step) {
        self.script(model, Script::always(step)).await;
    }

    pub(crate) async fn generate(
        &self,
        request: pb::GenerateRequest,
    ) -> Result<pb::GenerateResponse, Status> {
        self.client.clone().generate(request).await.map(Response::into_inner)
    }

    /// Listens to the end; an error before the first message is the status of what was heard.
    pub(crate) async fn stream(&self, request: pb::GenerateRequest) -> Heard {
        self.stream_within(request, PATIENCE * 2).await
    }

    /// The same of a caller who has so much time.
    pub(crate) async fn stream_within(&self, request: pb::GenerateRequest, time: Duration) -> Heard {
        let mut heard = Heard::default();
        match self.open_stream_within(request, Some(time)).await {
            Err(status) => heard.status = Some(status),
            Ok(mut messages) => loop {
                let next = tokio::time::timeout(PATIENCE, messages.message()).await.expect("goes on or ends");
                match next {
                    Ok(Some(message)) => heard.hear(message),
                    Ok(None) => break,
                    Err(status) => {
                        heard.status = Some(status);
                        break;
                    }
                }
            },
        }
        heard
    }

    /// The same bench for another process of the caller's: with a connection of its own.
    pub(crate) fn connect_anew(&mut self) {
        self.client = client(&self.address);
    }

    pub(crate) async fn open_stream(
        &self,
        request: pb::GenerateRequest,
    ) -> Result<Streaming<pb::StreamGenerateResponse>, Status> {
        self.open_stream_within(request, None).await
    }

    pub(crate) async fn open_stream_within(
        &self,
        request: pb::GenerateRequest,
        time: Option<Duration>,
    ) -> Result<Streaming<pb::StreamGenerateResponse>, Status> {
        let request_id = request.request_id.clone();
        let generate = Some(pb::GenerateRequest { request_id: String::new(), ..request });
        let mut request = Request::new(pb::StreamGenerateRequest { generate, request_id });
        if let Some(time) = time {
            request.set_timeout(time);
        }
        self.client.clone().stream_generate(request).await.map(Response::into_inner)
    }

    pub(crate) async fn explain(&self, route: &str, context: Option<RunContext>) -> pb::ExplainRouteResponse {
        let request =
            pb::ExplainRouteRequest { route: route.into(), context, ..pb::ExplainRouteRequest::default() };
        self.client.clone().explain_route(request).await.expect("explains").into_inner()
    }

    /// Changes the configuration of the router that runs.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        configure(self.folder.path(), change);
    }

    /// The address of something that is served over plain HTTP.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was spent of every budget of the tenant, or of one session's.
    pub(crate) async fn budgets(&self, session_id: &str) -> Vec<pb::Budget> {
        let request =
            pb::ListBudgetsRequest { session_id: session_id.into(), ..pb::ListBudgetsRequest::default() };
        let mut client = client_with(&self.address, OPERATOR_TOKEN);
        client.list_budgets(request).await.expect("lists").into_inner().budgets
    }

    /// Stops the router and starts it again over the same folder.
    pub(crate) async fn restart(&mut self) {
        self.router = None;
        let (address, router) = start(self.folder.path()).await;
        (self.client, self.address, self.router) = (client(&address), address, Some(router));
    }

    /// What `GET /readyz` answers.
    pub(crate) async fn readyz(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("it listens");
        let request = "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    /// Waits until it answers 200.
    pub(crate) async fn ready(&self) {
        self.readyz_that(|answer| answer.starts_with("HTTP/1.1 200")).await;
    }

    /// Waits until it answers 503, for this condition.
    pub(crate) async fn unready(&self, condition: &str) {
        self.readyz_that(|answer| answer.starts_with("HTTP/1.1 503") && answer.contains(condition)).await;
    }

    async fn readyz_that(&self, holds: impl Fn(&str) -> bool) {
        let looking = async {
            // Between two looks the machine is left to the others.
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            while !holds(&self.readyz().await) {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the readiness changes");
    }

    /// What the simulator was sent for a model.
    pub(crate) async fn received(&self, model: &str) -> Vec<RecordedRequest> {
        self.control.requests(Some(model)).await.expect("requests").requests
    }

    pub(crate) async fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for (place, model) in ["primary", "fallback", "local"].into_iter().enumerate() {
            counts[place] = self.received(model).await.len();
        }
        counts
    }

    /// The next event of a request, once the router delivered it.
    pub(crate) async fn event(&self, request_id: &str) -> audit::Event {
        let found = || {
            let events = self.events.lock().expect("not poisoned");
            events.iter().find(|event| event.subject_id == request_id).cloned()
        };
        let arrived = async {
            loop {
                if let Some(event) = found() {
                    return event;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived).await.expect("an event arrives")
    }
}

/// What a client has that keeps the text and discards what it is told to discard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What holds.
    pub(crate) text: String,
    pub(crate) thinking: String,
    pub(crate) calls: Vec<pb::ToolUse>,
    /// Models as they were asked; `model+` where one went on.
    pub(crate) asked: Vec<String>,
    pub(crate) resets: Vec<pb::AttemptReset>,
    pub(crate) completed: Option<pb::StreamCompleted>,
    /// What failed before each model was asked; empty: nothing.
    pub(crate) after: Vec<String>,
    pub(crate) failed: Option<pb::StreamFailed>,
    pub(crate) status: Option<Status>,
}

impl Heard {
    pub(crate) fn hear(&mut self, message: pb::StreamGenerateResponse) {
        use pb::stream_generate_response::Event;
        assert!(self.completed.is_none() && self.failed.is_none(), "nothing comes after the end");
        self.text.push_str(&message.text);
        match message.event {
            None => assert!(!message.text.is_empty(), "a message says something"),
            Some(Event::AttemptStarted(started)) => {
                let mark = if started.continues { "+" } else { "" };
                self.asked.push(format!("{}{mark}", started.model));
                self.after.push(started.after.map(|failed| failed.error_kind).unwrap_or_default());
            }
            Some(Event::AttemptReset(reset)) => {
                self.text.truncate(usize::try_from(reset.text_bytes_kept).expect("an offset"));
                self.thinking.clear();
                assert!(self.calls.is_empty(), "no call is taken back");
                self.resets.push(reset);
            }
            Some(Event::Thinking(thinking)) => self.thinking.push_str(&thinking.text),
            Some(Event::ToolUse(call)) => self.calls.push(call),
            Some(Event::Completed(completed)) => self.completed = Some(completed),
            Some(Event::Failed(failed)) => self.failed = Some(failed),
        }
    }

    pub(crate) fn answer(&self) -> &pb::GenerateResponse {
        assert!(self.completed.is_some(), "it failed: {self:?}");
        self.completed.as_ref().and_then(|completed| completed.response.as_ref()).expect("an answer")
    }
}

pub(crate) fn text_of(message: Option<&pb::Message>) -> String {
    let blocks = message.map(|message| message.content.as_slice()).unwrap_or_default();
    let texts = blocks.iter().filter_map(|content| match &content.block {
        Some(pb::content_block::Block::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// `RESET primary`, in order; an empty kind for the answer.
pub(crate) fn story(attempts: &[pb::Attempt]) -> Vec<(&str, &str, u32)> {
    attempts.iter().map(|a| (a.model.as_str(), a.error_kind.as_str(), a.http_status)).collect()
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("an ErrorInfo").reason
}

pub(crate) fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().expect("an ErrorInfo").metadata.remove(key).unwrap_or_default()
}

pub(crate) fn attributes(event: &audit::Event) -> Value {
    serde_json::from_str(&event.attributes_json).expect("JSON")
}
