//! The service as a process: killed in the middle, and on a disk that is full.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bulkhead_proto::audit::v1 as pb;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::support::{Installation, by, client, make_fifo, request, sent};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts the binary. A write beyond a limit fails then, as on a full disk, instead of ending the
    /// process.
    pub(crate) fn start(installation: &Installation) -> Self {
        Self::start_broken(installation, "")
    }

    /// With failpoints, where the binary has any.
    pub(crate) fn start_broken(installation: &Installation, failpoints: &str) -> Self {
        Self::start_after(installation, ":", failpoints)
    }

    /// After a command of the shell that starts it.
    pub(crate) fn start_after(installation: &Installation, prelude: &str, failpoints: &str) -> Self {
        let mut child = Self::command(installation, prelude, failpoints)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("reads");
        let announced: serde_json::Value = serde_json::from_str(&line).expect("it announces its address");
        let address = announced["listening"].as_str().expect("an address").parse().expect("an address");
        Self { child, address }
    }

    fn command(installation: &Installation, prelude: &str, failpoints: &str) -> Command {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; {prelude}; exec \"$0\" --config \"$1\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_audit")]).arg(installation.config());
        command.env(bulkhead_failpoint::VARIABLE, failpoints);
        command
    }

    /// Bytes that any file of the process may have from now on.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid")).expect("a pid");
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("limits");
    }

    pub(crate) async fn append(&self, events: Vec<pb::Event>) -> Result<pb::AppendEventsResponse, Status> {
        let answer = client(self.address).append_events(by("tool-executor", request(events))).await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn until(&self, wanted: ServingStatus) {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        let mut health = HealthClient::new(endpoint.connect_lazy());
        let service = "bulkhead.audit.v1.AuditService".to_owned();
        let mut changes = health.watch(HealthCheckRequest { service }).await.expect("watches").into_inner();
        let wanted = format!("{wanted:?}");
        let reached = async {
            while let Some(change) = changes.message().await.expect("watches") {
                if format!("{:?}", change.status()) == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("in time");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("is ours");
        self.child.wait().expect("ends");
    }
}

fn long(number: u128) -> pb::Event {
    pb::Event { attributes_json: format!(r#"{{"text":"{}"}}"#, "x".repeat(50_000)), ..sent(number) }
}

fn assert_unavailable(status: &Status) {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    assert_eq!((status.code(), reason), (Code::Unavailable, Some("LOG_UNAVAILABLE")), "{status:?}");
    assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()), "{status:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_keeps_the_log_whole() {
    let installation = Installation::new();
    let process = Process::start(&installation);
    process.append(vec![sent(1)]).await.expect("appends");
    let many: Vec<_> = (100..120).map(long).collect();

    // Room for some of these lines, not for all: the write fails half way and is taken back.
    process.limit_files(Some(400 << 10));
    assert_unavailable(&process.append(many.clone()).await.expect_err("a full disk"));
    assert_eq!(installation.verify().tree_size, 1);
    let small = process.append(vec![sent(2)]).await.expect("what fits is taken");
    assert_eq!(small.tree_size, 2);

    // Room for nothing.
    process.limit_files(Some(0));
    assert_unavailable(&process.append(vec![sent(3)]).await.expect_err("a full disk"));
    process.until(ServingStatus::NotServing).await;

    // Room again: readiness comes back by itself, and what was refused is taken when it is sent again.
    process.limit_files(None);
    process.until(ServingStatus::Serving).await;
    let taken = process.append(many).await.expect("appends");
    assert_eq!((taken.tree_size, taken.duplicate_count), (22, 0));
    client(process.address)
        .get_checkpoint(by("auditor", pb::GetCheckpointRequest {}))
        .await
        .expect("a checkpoint of all of it");
    let report = installation.verify();
    assert!(report.verified, "{report}");
    assert_eq!(report.checkpoints[0].tree_size, 22);
}

/// Stands where a file is to be written anew, as if the disk had no room for it.
fn occupy(installation: &Installation, name: &str) -> std::path::PathBuf {
    let path = installation.data().join(name);
    // A process that was killed at the wrong moment has left its draft there.
    drop(std::fs::remove_file(&path));
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

#[tokio::test]
async fn a_log_that_cannot_be_written_can_be_read_after_a_restart() {
    let installation = Installation::new();
    Process::start(&installation).append(vec![sent(1)]).await.expect("appends");
    let places = ["leaf-hashes.new", "checkpoint.new"].map(|name| occupy(&installation, name));

    let process = Process::start(&installation);
    process.until(ServingStatus::NotServing).await;
    let known = process.append(vec![sent(1)]).await.expect("what is there is recognised");
    assert_eq!((known.tree_size, known.duplicate_count), (1, 1));

    for place in places {
        std::fs::remove_dir(place).expect("room again");
    }
    process.until(ServingStatus::Serving).await;
    assert_eq!(process.append(vec![sent(2)]).await.expect("appends").tree_size, 2);
    let mut auditor = client(process.address);
    let signed = auditor.get_checkpoint(by("auditor", pb::GetCheckpointRequest {})).await.expect("signs");
    assert_eq!(signed.into_inner().tree_size, 2);
    let report = installation.verify();
    assert!(report.verified, "{report}");
}

#[tokio::test]
async fn a_log_without_any_checkpoint_does_not_start_before_it_has_one() {
    let installation = Installation::new();
    let place = occupy(&installation, "checkpoint.new");
    let told = refusal(&installation).await;
    assert!(told.contains("cannot write a checkpoint"), "{told}");
    std::fs::remove_dir(place).expect("room again");
    Process::start(&installation).append(vec![sent(1)]).await.expect("appends");
}

#[tokio::test]
async fn a_full_disk_is_no_reason_to_build_the_index_anew() {
    let installation = Installation::new();
    Process::start(&installation).append(vec![sent(1)]).await.expect("appends");
    let index = installation.data().join("index.sqlite");
    let inode = std::fs::metadata(&index).expect("an index").ino();
    let told = run(Process::command(&installation, "ulimit -f 0", "")).await;
    assert!(told.contains("cannot prepare the index") && !told.contains("damaged"), "{told}");
    assert_eq!(std::fs::metadata(&index).expect("still there").ino(), inode);
    let again = Process::start(&installation).append(vec![sent(1)]).await.expect("appends");
    assert_eq!((again.tree_size, again.duplicate_count), (1, 1));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let installation = Installation::new();
    let mut acknowledged = Vec::new();
    for round in 0..3_u128 {
        let process = Process::start(&installation);
        let mut calls = JoinSet::new();
        for number in 0..40 {
            let (address, id) = (process.address, round * 100 + number);
            calls.spawn(async move {
                let call = client(address).append_events(by("tool-executor", request(vec![sent(id)]))).await;
                call.is_ok().then_some(id)
            });
        }
        // Some are answered, the others are somewhere on the way.
        for _ in 0..10 {
            acknowledged.extend(calls.join_next().await.expect("a call").expect("no panic"));
        }
        drop(process);
        while let Some(call) = calls.join_next().await {
            acknowledged.extend(call.expect("no panic"));
        }
    }
    assert!(acknowledged.len() >= 30, "{acknowledged:?}");

    let process = Process::start(&installation);
    let count = u32::try_from(acknowledged.len()).expect("fits");
    let again = process.append(acknowledged.into_iter().map(sent).collect()).await.expect("appends");
    assert_eq!(again.duplicate_count, count, "every acknowledged event is recorded");
    let report = installation.verify();
    assert!(report.verified, "{report}");
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_does_not_start() {
    let installation = Installation::new();
    let first = Process::start(&installation);
    let told = refusal(&installation).await;
    assert!(told.contains("in use by another instance"), "{told}");
    drop(first);
}

#[tokio::test]
async fn a_pipe_or_a_folder_in_the_place_of_a_day_is_a_refusal_and_not_a_wait() {
    let installation = Installation::new();
    drop(Process::start(&installation));
    let day = installation.data().join("logs/2026-05-09.log");
    make_fifo(&day);
    let told = refusal(&installation).await;
    assert!(told.contains("2026-05-09.log has the name of a daily file and is no regular file"), "{told}");

    std::fs::remove_file(&day).expect("removes");
    std::fs::create_dir(&day).expect("a folder");
    let told = refusal(&installation).await;
    assert!(told.contains("2026-05-09.log has the name of a daily file and is no regular file"), "{told}");
}

/// What a process says that does not start.
async fn refusal(installation: &Installation) -> String {
    run(Process::command(installation, ":", "")).await
}

async fn run(command: Command) -> String {
    let refused = tokio::process::Command::from(command).kill_on_drop(true).output();
    let refused = tokio::time::timeout(PATIENCE, refused).await.expect("it ends").expect("runs");
    assert!(!refused.status.success());
    String::from_utf8_lossy(&refused.stderr).into_owned()
}
