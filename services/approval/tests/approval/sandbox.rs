//! A folder with everything the service needs, the service in it, and callers.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bulkhead_approval::{Config, NAME};
use bulkhead_canonical_json::sha256_hex;
use bulkhead_edge::peer::{Credentials, Peer, dial_with};
use bulkhead_edge::{Settings, peer};
use bulkhead_grant::{PinnedKeys, write_new_key};
use bulkhead_proto::approval::v1 as pb;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::common::v1 as common;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::audit::Audit;
use crate::people;

/// Bounds every wait. What is waited for takes milliseconds; this is for a machine under load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Client = ApprovalServiceClient<Peer>;

/// The files of one service. Outlives the processes that run on them.
pub(crate) struct Sandbox {
    pub(crate) folder: TempDir,
    pub(crate) audit: Audit,
}

impl Sandbox {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tokens.toml"), people::token_file()).expect("tokens");
        fs::write(folder.path().join("approval.token"), "approval\n").expect("our token");
        write_new_key(&folder.path().join("grant.key"), [7; 32]).expect("a key");
        Self { folder, audit: Audit::start().await }
    }

    /// A connection of somebody else to the service's database.
    pub(crate) async fn intruder(&self) -> SqliteConnection {
        let database = self.folder.path().join("data/approval.db");
        SqliteConnectOptions::new().filename(database).connect().await.expect("opened")
    }

    /// The keys that an executor would pin.
    pub(crate) fn pinned_keys(&self) -> PinnedKeys {
        PinnedKeys::load([self.folder.path().join("grant.pub").as_path()]).expect("the public key")
    }

    /// Writes the configuration, with `more` lines in the table of the service.
    pub(crate) fn config_file(&self, more: &str) -> PathBuf {
        let at = |name: &str| self.folder.path().join(name);
        let (data, key, tokens, token) =
            (at("data"), at("grant.key"), at("tokens.toml"), at("approval.token"));
        let text = format!(
            "[approval]\ndata = {data:?}\ngrant_key = {key:?}\n{more}\n\
             [approval.edge]\nlisten = \"127.0.0.1:0\"\ntokens = {tokens:?}\n\
             [approval.audit]\nendpoint = \"http://{}\"\ntoken_file = {token:?}\n",
            self.audit.address
        );
        let path = at("bulkhead.toml");
        fs::write(&path, text).expect("the configuration");
        path
    }

    pub(crate) async fn start(&self) -> Service {
        self.start_with("").await
    }

    pub(crate) async fn start_with(&self, more: &str) -> Service {
        let settings = Settings::load(&self.config_file(more), NAME).expect("a configuration");
        let config = settings.read(Config::read).expect("a valid one");
        let shutdown = CancellationToken::new();
        let (announce, announced) = oneshot::channel();
        let announce = Box::new(move |address| announce.send(address).expect("somebody waits"));
        let (ended, end) = oneshot::channel();
        let token = shutdown.clone();
        // A runtime of its own: when it ends, nothing of the service is left, as with a process.
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let served = runtime.block_on(bulkhead_approval::serve(config, announce, token));
            drop(runtime);
            // The test may be over.
            drop(ended.send(served.map_err(|error| error.to_string())));
        });
        let Ok(address) = announced.await else {
            panic!("the service did not start: {:?}", end.await);
        };
        Service { address, end, _stop: shutdown.clone().drop_guard(), shutdown }
    }
}

/// The service, running inside the test.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    end: oneshot::Receiver<Result<(), String>>,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

impl Service {
    pub(crate) fn client(&self, name: &str) -> Client {
        client(self.address, name)
    }

    /// Begins to stop; open calls may finish.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Stops and waits until nothing of it is left.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let end = tokio::time::timeout(PATIENCE, self.end).await.expect("it stops");
        end.expect("no panic").expect("a clean end");
    }
}

pub(crate) fn client(address: SocketAddr, name: &str) -> Client {
    let credentials = Credentials::new(name).expect("a token");
    ApprovalServiceClient::new(dial_with(&format!("http://{address}"), credentials).expect("an address"))
        .max_decoding_message_size(8 << 20)
}

/// Polls a condition, with a bound.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_late| panic!("waited in vain until {what}"));
}

/// The executor asks for ada's agent `scribe`: one approver.
pub(crate) fn question(plan: &str) -> pb::CreateApprovalRequest {
    pb::CreateApprovalRequest {
        request_id: Uuid::new_v4().to_string(),
        on_behalf_of: Some(agent("scribe", "ada")),
        plan_json: plan.into(),
        plan_digest: sha256_hex(plan),
        requirements: vec![pb::Requirement { role: "approver".into(), count: 1 }],
        expires_in: None,
        session_id: "session-1".into(),
        ..pb::CreateApprovalRequest::default()
    }
}

pub(crate) fn agent(name: &str, owner: &str) -> common::Principal {
    common::Principal {
        tenant: "default".into(),
        kind: common::PrincipalKind::Agent.into(),
        name: name.into(),
        owner: owner.into(),
    }
}

/// A plan that differs from every other.
pub(crate) fn plan() -> String {
    format!(r#"{{"arguments":{{"path":"{}"}},"tool":"fs.delete"}}"#, Uuid::new_v4())
}

pub(crate) fn requirement(role: &str, count: u32) -> pb::Requirement {
    pb::Requirement { role: role.into(), count }
}

pub(crate) fn ballot(approval: &pb::Approval, decision: pb::Decision) -> pb::DecideApprovalRequest {
    pb::DecideApprovalRequest {
        request_id: Uuid::new_v4().to_string(),
        approval_id: approval.approval_id.clone(),
        decision: decision.into(),
        reason: "because I looked".into(),
        plan_digest: approval.plan_digest.clone(),
        ..pb::DecideApprovalRequest::default()
    }
}

pub(crate) async fn ask(service: &Service, question: pb::CreateApprovalRequest) -> pb::Approval {
    create(&mut service.client("tool-executor"), question).await.expect("asked")
}

pub(crate) async fn create(
    client: &mut Client,
    question: pb::CreateApprovalRequest,
) -> Result<pb::Approval, Status> {
    let answer = client.create_approval(question).await?.into_inner();
    Ok(answer.approval.expect("an approval"))
}

pub(crate) async fn decide(
    client: &mut Client,
    ballot: pb::DecideApprovalRequest,
) -> Result<pb::Approval, Status> {
    let answer = client.decide_approval(ballot).await?.into_inner();
    Ok(answer.approval.expect("an approval"))
}

pub(crate) async fn approve(
    service: &Service,
    name: &str,
    approval: &pb::Approval,
) -> Result<pb::Approval, Status> {
    decide(&mut service.client(name), ballot(approval, pb::Decision::Approve)).await
}

pub(crate) async fn deny(
    service: &Service,
    name: &str,
    approval: &pb::Approval,
) -> Result<pb::Approval, Status> {
    decide(&mut service.client(name), ballot(approval, pb::Decision::Deny)).await
}

pub(crate) async fn get(client: &mut Client, id: &str) -> Result<pb::Approval, Status> {
    let answer = client.get_approval(pb::GetApprovalRequest { approval_id: id.into() }).await?.into_inner();
    Ok(answer.approval.expect("an approval"))
}

/// The code and the reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("refused");
    (status.code(), peer::reason(&status))
}

/// Whether a refusal says when to try again.
pub(crate) fn says_when_to_retry(status: &Status) -> bool {
    status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some())
}
