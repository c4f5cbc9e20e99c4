//! Several routers on one folder, as replicas on one volume.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use bulkhead_exit::Exit;
use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Reply, Usage};

use crate::bench::{Plan, bench, child_command, on, reason, request, run_child};

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
async fn what_a_router_that_is_gone_has_spent_counts_for_one_that_starts() {
    let settings = "data_slots = 3\nbudget = [\
        { name = \"all\", scope = \"tenant\", period = \"none\", stop_usd_micros = 10000 }]";
    let model = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000";
    let mut bench = bench(Plan { settings, model, ..Plan::default() }).await;
    // Three thousandths of a dollar each.
    let usage = Some(Usage { input_tokens: 1_000, ..Usage::default() });
    bench.always("primary", Reply { text: Some("Done.".into()), usage, ..Reply::default() }.into()).await;
    let asked = || pb::GenerateRequest { max_output_tokens: 100, ..on("short") };
    bench.generate(asked()).await.expect("it is paid for");
    let (second, mut client) = run_child(child_command(bench.folder.path())).await;
    for _ in 0..2 {
        client.generate(asked()).await.expect("it is paid for, of what this one knows");
    }
    assert_eq!(bench.budgets("").await[0].spent_usd_micros, 3_000, "who runs beside it does not know");
    drop(second);
    for _ in 0..2 {
        bench.restart().await;
        assert_eq!(bench.budgets("").await[0].spent_usd_micros, 9_000, "each counts once");
    }
    assert_eq!(reason(&bench.generate(asked()).await.expect_err("too little is left")), "BUDGET_EXHAUSTED");
    assert_eq!(bench.counts().await, [3, 0, 0]);
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
