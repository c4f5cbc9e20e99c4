//! Several callers of one stream: they share one call of a model, from the beginning to the same end.

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Answered, Reply, Step, StreamBreak, StreamFault};
use serde_json::json;
use tonic::Streaming;

use crate::bench::{Bench, Heard, PATIENCE, Plan, attributes, bench, reason, request};

/// Longer than any call here.
const MODEL: &str = "attempts_max = 1\nfirst_token_timeout_ms = 20000\nidle_timeout_ms = 20000";

fn words(count: usize) -> Reply {
    Reply { pause_ms: 20, chunks: (0..count).map(|word| format!("{word} ")).collect(), ..Reply::default() }
}

/// A stream that is read by hand.
struct Reading {
    messages: Streaming<pb::StreamGenerateResponse>,
    heard: Heard,
}

impl Reading {
    async fn open(bench: &Bench, asked: &pb::GenerateRequest) -> Self {
        Self { messages: bench.open_stream(asked.clone()).await.expect("opens"), heard: Heard::default() }
    }

    /// Reads until this is so.
    async fn until(&mut self, is_so: impl Fn(&Heard) -> bool) {
        let reading = async {
            while !is_so(&self.heard) {
                let message = self.messages.message().await.expect("goes on").expect("goes on");
                self.heard.hear(message);
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it comes");
    }

    async fn whole(mut self) -> Heard {
        self.until(|heard| heard.completed.is_some()).await;
        self.heard
    }
}

async fn until_abandoned(bench: &Bench, model: &str) {
    let abandoned = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
        while bench.received(model).await[0].answered != Answered::Abandoned {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, abandoned).await.expect("the model stops");
}

#[tokio::test]
async fn a_second_caller_gets_all_so_far_and_then_what_comes_as_it_comes() {
    let bench = bench(Plan { model: MODEL, ..Plan::default() }).await;
    bench.always("primary", words(50).into()).await;
    let asked = request();
    let mut first = Reading::open(&bench, &asked).await;
    first.until(|heard| heard.text.len() > 10).await;
    let mut second = Reading::open(&bench, &asked).await;
    second.until(|heard| !heard.text.is_empty()).await;
    assert!(second.heard.text.starts_with(&first.heard.text), "{:?}", second.heard);
    assert!(!second.heard.text.contains("49"), "the first has not ended, and the second has something");
    let other = bench.stream(pb::GenerateRequest { system: "Another.".into(), ..asked.clone() }).await;
    assert_eq!(reason(other.status.as_ref().expect("refused")), "REQUEST_ID_REUSED");

    let (first, second) = tokio::join!(first.whole(), second.whole());
    let replayed = bench.stream(asked.clone()).await;
    for heard in [&second, &replayed] {
        assert_eq!((&heard.text, &heard.completed), (&first.text, &first.completed));
        assert_eq!(heard.asked, ["primary"]);
    }
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn the_model_works_as_long_as_anybody_reads() {
    let bench = bench(Plan { model: MODEL, ..Plan::default() }).await;
    bench.always("primary", words(2_000).into()).await;
    let asked = request();
    let mut first = Reading::open(&bench, &asked).await;
    first.until(|heard| !heard.text.is_empty()).await;
    let mut second = Reading::open(&bench, &asked).await;
    second.until(|heard| !heard.text.is_empty()).await;
    drop(first);
    let so_far = second.heard.text.len();
    second.until(|heard| heard.text.len() > so_far + 20).await;
    assert_ne!(bench.received("primary").await[0].answered, Answered::Abandoned);
    drop(second);
    until_abandoned(&bench, "primary").await;
    let event = bench.event(&asked.request_id).await;
    assert_eq!((event.outcome.as_str(), &attributes(&event)["error"]), ("failed", &json!("CALLER_GONE")));
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn who_joins_after_a_reset_hears_of_it_and_of_nothing_void() {
    let bench = bench(Plan { model: MODEL, route: "stream_recovery = \"restart\"", ..Plan::default() }).await;
    let cut = StreamFault { reply: words(20), ..StreamFault::new(StreamBreak::Cut) }.after(5);
    bench.always("primary", Step::from(Action::StreamFault(cut))).await;
    bench.always("fallback", words(50).into()).await;
    let asked = request();
    let mut first = Reading::open(&bench, &asked).await;
    first.until(|heard| heard.asked.len() == 2 && !heard.text.is_empty()).await;
    let second = Reading::open(&bench, &asked).await;
    let (first, second) = tokio::join!(first.whole(), second.whole());
    assert_eq!((&second.text, &second.completed), (&first.text, &first.completed));
    assert_eq!((&second.asked, &second.resets, &second.after), (&first.asked, &first.resets, &first.after));
    assert!(second.text.ends_with("49 ") && second.resets.len() == 1, "{second:?}");
    assert_eq!(bench.counts().await, [1, 1, 0]);
}

#[tokio::test]
async fn a_caller_who_does_not_read_holds_nobody_up() {
    let mut bench = bench(Plan { model: MODEL, ..Plan::default() }).await;
    // More than any window on the way holds.
    let chunks = vec!["word ".repeat(2_000); 200];
    bench.always("primary", Reply { chunks, ..Reply::default() }.into()).await;
    let asked = request();
    let slow = Reading::open(&bench, &asked).await;
    // What is not read fills the window of its connection, which others on it wait for.
    bench.connect_anew();
    let fast = Reading::open(&bench, &asked).await.whole().await;
    let slow = slow.whole().await;
    assert_eq!((slow.text.len(), &slow.completed), (2_000_000, &fast.completed));
    assert!(slow.text == fast.text);
    assert_eq!(bench.counts().await, [1, 0, 0]);
}
