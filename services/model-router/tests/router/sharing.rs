//! Tiers, circuits, and what a route lets another model be asked for.

use std::collections::BTreeMap;

use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Reply, Step, StopReason};
use tonic::Code;

use crate::bench::{Bench, Plan, bench, on, reason, request, story};

/// `shared` has both cloud models in one tier, and the local one after them.
macro_rules! shared {
    ($balance:literal) => {
        concat!(
            "retry_base_ms = 10\n[[model-router.route]]\nname = \"shared\"\n",
            "chain = [[\"primary\", \"fallback\"], \"local\"]\nbalance = \"",
            $balance,
            "\""
        )
    };
}

fn declining() -> Step {
    let text = Some("I decline.".to_owned());
    Reply { text, stop_reason: Some(StopReason::Refusal), ..Reply::default() }.into()
}

async fn answered_by(bench: &Bench, session: &str) -> String {
    let context = RunContext { session_id: session.into(), ..RunContext::default() };
    let answer = bench.generate(pb::GenerateRequest { context: Some(context), ..on("shared") }).await;
    answer.expect("answers").model
}

#[tokio::test]
async fn the_models_of_a_tier_share_its_requests_and_stand_in_for_each_other() {
    let bench = bench(Plan { settings: shared!("weighted"), ..Plan::default() }).await;
    let mut counts = BTreeMap::new();
    for _ in 0..40 {
        *counts.entry(answered_by(&bench, "").await).or_insert(0) += 1;
    }
    // With fair dice one of 2 * 10^6 runs has fewer than four of forty.
    assert!(counts.len() == 2 && counts.values().all(|count| *count >= 4), "{counts:?}");
    bench.always("primary", Step::status(503)).await;
    let answer = bench.generate(on("shared")).await.expect("answers");
    assert_eq!(answer.model, "fallback");
}

#[tokio::test]
async fn a_session_stays_with_its_model_until_that_is_gone() {
    let bench = bench(Plan { settings: shared!("sticky"), ..Plan::default() }).await;
    let sessions: Vec<String> = (0..12).map(|number| format!("session-{number}")).collect();
    let mut models = BTreeMap::new();
    for session in &sessions {
        models.insert(session.clone(), answered_by(&bench, session).await);
        assert_eq!(models[session], answered_by(&bench, session).await, "{session}");
    }
    assert!(
        models.values().any(|model| model == "primary") && models.values().any(|model| model == "fallback")
    );
    bench.always("primary", Step::status(401)).await;
    for session in &sessions {
        assert_eq!(answered_by(&bench, session).await, "fallback", "{session}");
    }
}

#[tokio::test]
async fn the_busier_model_is_passed_over() {
    let bench = bench(Plan { settings: shared!("least-in-flight"), ..Plan::default() }).await;
    bench.always("primary", Action::Silence.into()).await;
    let waiting = async {
        // A call that reaches the silent model stays there; from then on all others go to the other one.
        let mut calls = tokio::task::JoinSet::new();
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
        while bench.counts().await[0] == 0 {
            if calls.is_empty() {
                let (client, asked) = (bench.client.clone(), on("shared"));
                calls.spawn(async move { client.clone().generate(asked).await.map(drop) });
            }
            tokio::select! {
                _ = calls.join_next() => {}
                _ = looks.tick() => {}
            }
        }
        for _ in 0..20 {
            assert_eq!(answered_by(&bench, "").await, "fallback");
        }
    };
    tokio::time::timeout(crate::bench::PATIENCE, waiting).await.expect("goes on");
}

#[tokio::test]
async fn circuits_are_shown_by_class_as_they_stand() {
    let settings = "retry_base_ms = 1\ncircuit_failures = 3\ncircuit_open_ms = 60000";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.always("primary", Step::status(500)).await;
    bench.generate(request()).await.expect("answers");
    let models = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    let models = models.into_inner().models;
    let primary = models.iter().find(|model| model.name == "primary").expect("listed");
    let told: Vec<(&str, pb::CircuitState, u32)> = primary
        .circuits
        .iter()
        .map(|circuit| (circuit.failure_class.as_str(), circuit.state(), circuit.failures))
        .collect();
    assert_eq!(told, [("FAILING", pb::CircuitState::Open, 3)]);
    assert!(primary.circuits[0].retry_time.is_some() && !primary.usable);
    let explained = bench.explain("default", None).await;
    assert!(explained.excluded[0].detail.contains("FAILING"), "{:?}", explained.excluded);
}

#[tokio::test]
async fn a_refusal_goes_to_another_model_only_where_the_route_says_so() {
    let bench = bench(Plan { route: "fallback_on_refusal = true", ..Plan::default() }).await;
    bench.always("primary", declining()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "REFUSAL", 200), ("fallback", "", 200)]);
    let heard = bench.stream(request()).await;
    assert_eq!((heard.answer().model.as_str(), heard.resets.len()), ("fallback", 1));

    bench.always("fallback", declining()).await;
    bench.always("local", Step::status(401)).await;
    let answer =
        bench.generate(request()).await.expect("a refusal is an answer, if nobody gives a better one");
    assert_eq!((answer.stop_reason(), answer.model.as_str()), (pb::StopReason::Refusal, "fallback"));
    let heard = bench.stream(request()).await;
    assert_eq!((heard.answer().stop_reason(), heard.text.as_str()), (pb::StopReason::Refusal, "I decline."));
}

#[tokio::test]
async fn a_request_too_long_goes_nowhere_else_where_the_route_says_so() {
    let bench = bench(Plan { route: "fallback_on_context_length = false", ..Plan::default() }).await;
    bench.always("primary", Action::ContextLength.into()).await;
    let status = bench.generate(request()).await.expect_err("too long");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "REQUEST_REJECTED_BY_MODEL")
    );
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn a_routes_own_limits_hold_in_place_of_the_models() {
    let route = "request_timeout_ms = 200\nfirst_token_timeout_ms = 200";
    let bench = bench(Plan { route, model: "request_timeout_ms = 60000", ..Plan::default() }).await;
    bench.always("primary", Action::Silence.into()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "TIMEOUT", 0), ("fallback", "", 200)]);
    let heard = bench.stream(request()).await;
    assert_eq!(story(&heard.answer().attempts), [("primary", "TIMEOUT", 0), ("fallback", "", 200)]);
}

#[tokio::test]
async fn a_refusal_is_never_gone_on_from_and_outlives_what_ends_the_request_after_it() {
    let route = "fallback_on_refusal = true\nstream_recovery = \"continue\"";
    let bench = bench(Plan { route, ..Plan::default() }).await;
    bench.always("primary", declining()).await;
    bench.always("fallback", Step::text("A better one.")).await;
    let heard = bench.stream(request()).await;
    let asked = bench.received("fallback").await[0].body.to_string();
    assert!(!asked.contains("I decline."), "{asked}");
    assert_eq!((heard.text.as_str(), heard.resets.len()), ("A better one.", 1));

    bench.always("fallback", Step::status(400)).await;
    let heard = bench.stream(request()).await;
    assert_eq!((heard.answer().stop_reason(), heard.text.as_str()), (pb::StopReason::Refusal, "I decline."));
    let answer = bench.generate(request()).await.expect("the refusal");
    assert_eq!(answer.stop_reason(), pb::StopReason::Refusal);
}
