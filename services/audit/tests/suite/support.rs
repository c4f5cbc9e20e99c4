//! A log in a folder of its own, with a clock that the test sets.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_audit::checkpoint::LogKey;
use bulkhead_audit::event::Event;
use bulkhead_audit::index::Filter;
use bulkhead_audit::log::{AppendError, Batch, Clock, Layout, Log, OpenError, Receipt, Settings};
use bulkhead_audit::query::{Query, Recorded};
use bulkhead_audit::verify::{VerifyOptions, VerifyReport, verify};
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::tokens::token_hash;
use bulkhead_edge::{Principal, PrincipalKind, Readiness, Tasks, wire};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use jiff::Timestamp;
use serde_json::{Map, json};
use tempfile::TempDir;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

pub(crate) const ORIGIN: &str = "bulkhead.local/audit";
pub(crate) const SEED: [u8; 32] = [7; 32];

pub(crate) struct Folder {
    folder: TempDir,
    clock: Arc<Mutex<Timestamp>>,
}

pub(crate) struct Open {
    pub(crate) log: Log,
    pub(crate) query: Query,
    tasks: Tasks,
}

pub(crate) fn principal(kind: PrincipalKind, name: &str) -> Principal {
    Principal { tenant: "acme".into(), kind, name: name.into(), owner: None }
}

pub(crate) fn event(number: u128) -> Event {
    Event {
        attributes: Map::from_iter([("path".to_owned(), json!(format!("notes/{number}.md")))]).into(),
        event_id: Uuid::from_u128(number),
        kind: "tool.read".into(),
        outcome: "succeeded".into(),
        principal: principal(PrincipalKind::Agent, "scribe"),
        request_id: String::new(),
        run_id: String::new(),
        session_id: "s1".into(),
        step: 1,
        subject_id: format!("e{number}"),
        time: "2026-05-09T11:59:59Z".parse().expect("a time"),
        tool: "fs.read".into(),
        trace_id: String::new(),
        traceparent: String::new(),
    }
}

pub(crate) fn batch(numbers: impl IntoIterator<Item = u128>) -> Batch {
    let events = numbers.into_iter().map(event).collect();
    Batch { events, source: principal(PrincipalKind::Service, "tool-executor") }
}

pub(crate) fn make_fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

impl Folder {
    pub(crate) fn new() -> Self {
        let noon = "2026-05-09T12:00:00Z".parse().expect("a time");
        Self { folder: tempfile::tempdir().expect("a folder"), clock: Arc::new(Mutex::new(noon)) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.path())
    }

    pub(crate) fn file(&self, day: &str) -> PathBuf {
        self.layout().logs().join(format!("{day}.log"))
    }

    pub(crate) fn text(&self, day: &str) -> String {
        fs::read_to_string(self.file(day)).expect("reads")
    }

    pub(crate) fn set_clock(&self, time: &str) {
        *self.clock.lock().expect("the clock") = time.parse().expect("a time");
    }

    pub(crate) async fn try_open(&self) -> Result<Open, OpenError> {
        self.try_open_at(&self.layout()).await
    }

    pub(crate) async fn try_open_at(&self, layout: &Layout) -> Result<Open, OpenError> {
        let clock = Arc::clone(&self.clock);
        let settings = Settings {
            layout: layout.clone(),
            key: LogKey::from_seed(ORIGIN, SEED),
            clock: Clock::new(move || *clock.lock().expect("the clock")),
        };
        let tasks = Tasks::new();
        let (log, index) = Log::open(settings, Readiness::new(), tasks.clone()).await?;
        Ok(Open { log, query: Query::new(index, layout.clone()), tasks })
    }

    pub(crate) async fn open(&self) -> Open {
        self.try_open().await.expect("opens")
    }

    /// Opens, appends one batch for each range, closes.
    pub(crate) async fn filled(batches: &[(&str, std::ops::Range<u128>)]) -> Self {
        let folder = Self::new();
        let open = folder.open().await;
        for (time, numbers) in batches {
            folder.set_clock(time);
            open.append(numbers.clone()).await.expect("appends");
        }
        open.close().await;
        folder
    }
}

impl Open {
    pub(crate) async fn append(
        &self,
        numbers: impl IntoIterator<Item = u128>,
    ) -> Result<Receipt, AppendError> {
        self.log.append(batch(numbers)).await
    }

    pub(crate) async fn all(&self) -> Vec<Recorded> {
        let filter = Filter { tenant: "acme".into(), ..Filter::default() };
        self.query.page(&filter, None, 1_000).await.expect("queries").events
    }

    pub(crate) async fn sequences(&self) -> Vec<u64> {
        self.all().await.iter().map(|found| found.entry.sequence).collect()
    }

    pub(crate) async fn close(self) {
        drop(self.log);
        self.tasks.finish(Duration::from_secs(10)).await;
    }
}

/// The files that a service is started with, and the tokens of its callers.
pub(crate) struct Installation {
    folder: TempDir,
}

/// Tokens are their holders' names here.
const HOLDERS: [(&str, &str, &str, &str); 5] = [
    ("tool-executor", "service", "acme", "service"),
    ("approval", "service", "acme", "service"),
    ("auditor", "person", "acme", "auditor"),
    ("stranger", "person", "umbrella", "auditor"),
    ("scribe", "agent", "acme", "agent"),
];

impl Installation {
    pub(crate) fn new() -> Self {
        let installation = Self { folder: tempfile::tempdir().expect("a folder") };
        let path = installation.folder.path();
        bulkhead_grant::write_new_key(&path.join("log.key"), SEED).expect("a key");
        let tokens: String = HOLDERS
            .iter()
            .map(|(name, kind, tenant, role)| {
                let hash = token_hash(name);
                format!(
                    "[[token]]\nhash = \"{hash}\"\ntenant = \"{tenant}\"\nkind = \"{kind}\"\n\
                     name = \"{name}\"\nroles = [\"{role}\"]\n"
                )
            })
            .collect();
        fs::write(path.join("tokens.toml"), tokens).expect("writes");
        let config = format!(
            "[audit]\ndata = {:?}\nlog_key = {:?}\n[audit.edge]\nlisten = \"127.0.0.1:0\"\ntokens = {:?}\n",
            installation.data(),
            path.join("log.key"),
            path.join("tokens.toml"),
        );
        fs::write(installation.config(), config).expect("writes");
        installation
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("bulkhead.toml")
    }

    pub(crate) fn verify(&self) -> VerifyReport {
        let key = Some(self.folder.path().join("log.pub"));
        verify(&self.data(), &VerifyOptions { key, ..VerifyOptions::default() }).expect("reads")
    }
}

pub(crate) fn client(address: SocketAddr) -> AuditServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    AuditServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// A request in the name of one of the holders.
pub(crate) fn by<T>(holder: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {holder}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A valid event as it travels.
pub(crate) fn sent(number: u128) -> pb::Event {
    let noon: Timestamp = "2026-05-09T12:00:00Z".parse().expect("a time");
    pb::Event {
        event_id: Uuid::from_u128(number).to_string(),
        time: Some(wire::timestamp(noon)),
        kind: "tool.read".into(),
        principal: Some((&principal(PrincipalKind::Agent, "scribe")).into()),
        session_id: "s1".into(),
        step: 1,
        tool: "fs.read".into(),
        outcome: "succeeded".into(),
        subject_id: format!("e{number}"),
        attributes_json: format!(r#"{{"path":"notes/{number}.md"}}"#),
        ..pb::Event::default()
    }
}

pub(crate) fn request(events: Vec<pb::Event>) -> pb::AppendEventsRequest {
    pb::AppendEventsRequest { request_id: Uuid::from_u128(1).to_string(), events }
}
