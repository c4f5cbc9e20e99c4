//! Many callers at once: what one model's trouble may cost, and that nothing is forgotten afterwards.

use std::time::{Duration, Instant};

use bulkhead_provider_sim::{Reply, Script, Step};
use futures::StreamExt as _;

use crate::bench::{Plan, bench, on, request};

/// Callers at a time.
const CALLERS: usize = 64;

#[tokio::test]
async fn a_flapping_model_is_bounded_by_its_circuit_while_everybody_is_answered() {
    let settings =
        "retry_base_ms = 1\ncircuit_failures = 5\ncircuit_open_ms = 200\ncircuit_open_max_ms = 200";
    let bench = bench(Plan { settings, model: "attempts_max = 1", ..Plan::default() }).await;
    let fails = std::iter::repeat_with(|| Step::status(503)).take(30);
    bench.script("primary", Script::cycle(fails.chain([Step::text("up again")]))).await;
    let began = Instant::now();
    let calls = 1_500;
    let answered = futures::stream::iter(0..calls)
        .map(|_| bench.generate(request()))
        .buffer_unordered(CALLERS)
        .filter(|answer| std::future::ready(answer.is_ok()))
        .count()
        .await;
    assert_eq!(answered, calls, "everybody is answered by somebody");
    let [asked, ..] = bench.counts().await;
    // Those under way when it opens, and one probe each time that it has rested; each answer closes it again until five
    // more have failed, with a crowd under way.
    let openings = usize::try_from(began.elapsed().as_millis() / 200).expect("few") + 1;
    let bound = CALLERS + 5 + openings * 2 + (asked / 31 + 1) * (CALLERS + 5);
    assert!(asked < bound, "{asked} attempts in {openings} openings; {bound} are allowed");
    assert!(asked < calls, "most calls did not ask it at all");
}

#[tokio::test]
async fn streams_of_a_crowd_end_whole_and_leave_nothing_behind() {
    let bench =
        bench(Plan { settings: "retry_base_ms = 1\ncircuit_failures = 1000", ..Plan::default() }).await;
    let chunks = (0..20).map(|number| format!("{number} ")).collect();
    bench.always("primary", Reply { chunks, ..Reply::default() }.into()).await;
    let whole = (0..20).map(|number| format!("{number} ")).collect::<String>();
    let heard = futures::stream::iter(0..200).map(|_| bench.stream(on("short"))).buffer_unordered(CALLERS);
    let texts: Vec<String> = heard.map(|heard| heard.text).collect().await;
    assert!(texts.iter().all(|text| *text == whole) && texts.len() == 200);
    assert_eq!(bench.counts().await, [200, 0, 0]);
    tokio::time::timeout(Duration::from_secs(20), bench.ready()).await.expect("it is as ready as before");
}
