//! Changes at the same time, by ourselves and by others. Every loop is bounded and every assertion names
//! its round.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bulkhead_tool_executor::tool::Outcome;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use uuid::Uuid;

use crate::sandbox::{Done, Sandbox};

const WRITERS: usize = 8;
const ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_changes_of_one_file_exactly_one_wins_and_can_be_undone() {
    for existing in [None, Some("old")] {
        for round in 0..ROUNDS / 4 {
            let sandbox = Arc::new(Sandbox::new());
            if let Some(content) = existing {
                sandbox.put("a/b.md", content);
            }
            let mut running = Vec::new();
            for writer in 0..WRITERS {
                let (id, content) = (Uuid::now_v7(), format!("writer {writer}"));
                let planned = sandbox.plan_write("a/b.md", &content).await;
                running.push((id, content, planned));
            }
            let applied = running.into_iter().map(|(id, content, planned)| {
                let sandbox = Arc::clone(&sandbox);
                async move {
                    let outcome = sandbox.apply_write(id, "a/b.md", &content, &planned).await;
                    (Done { id, tool: "fs.write", planned }, content, outcome)
                }
            });
            let mut won = Vec::new();
            for (done, content, outcome) in futures::future::join_all(applied).await {
                match outcome {
                    Outcome::Succeeded(_) => won.push((done, content)),
                    Outcome::Stale(_) => {}
                    other => panic!("round {round}: {other:?}"),
                }
            }
            let [(done, content)] = won.as_slice() else { panic!("round {round}: {} won", won.len()) };
            assert_eq!(sandbox.get("a/b.md").as_ref(), Some(content), "round {round}");
            sandbox.undo(done, false).await;
            assert_eq!(sandbox.get("a/b.md").as_deref(), existing, "round {round}");
        }
    }
}

/// Exchanges a folder with a link to another one and back, as fast as it goes, until it is told to stop.
fn swap(folder: &Path, link: &Path, stop: &AtomicBool) -> usize {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        let exchange = RenameFlags::EXCHANGE;
        renameat_with(CWD, folder, CWD, link, exchange).expect("the two are exchanged");
        swaps += 1;
    }
    swaps
}

/// Plans and writes; how it ended in one word.
async fn attempt(sandbox: &Sandbox, path: &str, content: &str) -> &'static str {
    let Ok(planned) = sandbox.plan("fs.write", json!({"path": path, "content": content})).await else {
        return "refused";
    };
    match sandbox.apply_write(Uuid::now_v7(), path, content, &planned).await {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::Stale(_) => "stale",
        Outcome::Failed(_) => "failed",
        Outcome::Unknown(_) => "unknown",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_swapped_in_while_it_runs_leads_nobody_out() {
    let sandbox = Sandbox::new();
    sandbox.put("folder/a.md", "old");
    fs::create_dir(sandbox.outside("elsewhere")).expect("a folder outside");
    fs::write(sandbox.outside("elsewhere/a.md"), "old").expect("a file outside");
    let stop = Arc::new(AtomicBool::new(false));
    symlink(sandbox.outside("elsewhere"), sandbox.path("link")).expect("a link");
    let swapping = {
        let (folder, link, stop) = (sandbox.path("folder"), sandbox.path("link"), Arc::clone(&stop));
        thread::spawn(move || swap(&folder, &link, &stop))
    };
    let mut endings = BTreeSet::new();
    for round in 0..ROUNDS * 5 {
        for path in ["folder/a.md", "folder/b/c.md"] {
            endings.insert(attempt(&sandbox, path, &format!("new {round}")).await);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapping.join().expect("the other thread ends well");
    assert!(swaps > ROUNDS, "it has to be a race: {swaps} swaps, {endings:?}");
    assert_eq!(fs::read_to_string(sandbox.outside("elsewhere/a.md")).expect("there"), "old", "{endings:?}");
    let outside: Vec<_> = fs::read_dir(sandbox.outside("elsewhere")).expect("a folder").collect();
    assert_eq!(outside.len(), 1, "nothing came into being outside: {endings:?}");
}

/// Replaces the file by ever new ones, until it is told to stop.
fn replace(target: PathBuf, scratch: PathBuf, stop: &AtomicBool) -> usize {
    let mut versions = 0;
    while !stop.load(Ordering::Relaxed) && versions < 20_000 {
        fs::write(&scratch, format!("stranger {versions}")).expect("a new version");
        fs::rename(&scratch, &target).expect("takes the place of the old one");
        versions += 1;
    }
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_stranger_does_a_success_has_displaced_exactly_what_was_planned() {
    let sandbox = Sandbox::new();
    sandbox.put("a.md", "old");
    let stop = Arc::new(AtomicBool::new(false));
    let replacing = {
        let (target, scratch, stop) = (sandbox.path("a.md"), sandbox.path("scratch"), Arc::clone(&stop));
        thread::spawn(move || replace(target, scratch, &stop))
    };
    for round in 0..ROUNDS * 10 {
        let (id, planned) = (Uuid::now_v7(), sandbox.plan_write("a.md", "ours").await);
        let kept = sandbox.path(".bulkhead/undo").join(id.to_string());
        match sandbox.apply_write(id, "a.md", "ours", &planned).await {
            Outcome::Succeeded(_) => {
                let copy = fs::read(kept.join("old")).expect("a copy");
                let hash = bulkhead_canonical_json::sha256_hex(copy);
                assert_eq!(Some(hash), planned.effects[0].before_sha256, "round {round}");
            }
            Outcome::Stale(_) => assert!(!kept.exists(), "round {round}: stale, and something is left"),
            Outcome::Unknown(_) => assert!(kept.exists(), "round {round}: unknown, and nothing is kept"),
            Outcome::Failed(fault) => panic!("round {round}: {fault:?}"),
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(replacing.join().expect("the other thread ends well") > 0);
}
