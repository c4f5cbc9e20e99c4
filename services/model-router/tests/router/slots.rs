//! Several routers on one folder, as replicas on one volume.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use bulkhead_exit::Exit;

use crate::bench::{Plan, bench, child_command, request, run_child};

#[tokio::test]
async fn what_a_router_that_is_gone_has_left_is_delivered_by_another() {
    let bench = bench(Plan { settings: "data_slots = 3", ..Plan::default() }).await;
    let (second, _) = run_child(child_command(bench.folder.path())).await;
    let (third, mut client) = run_child(child_command(bench.folder.path())).await;
    for slot in ["replica-0", "replica-1", "replica-2"] {
        assert!(bench.folder.path().join("data").join(slot).join("router.db").exists(), "{slot}");
    }

    bench.audit_is_down.store(true, Ordering::Relaxed);
    let asked = request();
    client.generate(asked.clone()).await.expect("answers");
    drop((second, third));
    bench.audit_is_down.store(false, Ordering::Relaxed);
    // It takes the second slot; what waits is in the third.
    let (_heir, _) = run_child(child_command(bench.folder.path())).await;
    assert_eq!(bench.event(&asked.request_id).await.outcome, "answered");
}

#[tokio::test]
async fn one_router_more_than_there_are_slots_says_so_and_ends() {
    let bench = bench(Plan { settings: "data_slots = 2", ..Plan::default() }).await;
    let (_second, _) = run_child(child_command(bench.folder.path())).await;
    let mut child = child_command(bench.folder.path()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    tokio::task::spawn_blocking(move || {
        stderr.read_to_string(&mut said).expect("text");
        assert!(said.contains("all 2 slots of") && said.contains("raise data_slots"), "{said}");
    })
    .await
    .expect("told");
    assert_eq!(child.wait().expect("ended").code(), Some(Exit::Taken.code().into()));
}
