//! What calls cost, and who is told.

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Reply, Script, Step, Usage};
use serde_json::{Value, json};
use tonic::Code;

use crate::bench::{Plan, attributes, bench, metadata, reason, request};

/// Prices of every model: three dollars for a million tokens of prompt, fifteen for as many of an answer.
const PRICED: &str = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000\n\
                      context_window_tokens = 200000\noutput_tokens_max = 64000";

fn priced() -> Plan {
    Plan { model: PRICED, ..Plan::default() }
}

/// An answer with this usage.
fn counting(input_tokens: u64, output_tokens: u64) -> Step {
    let usage = Some(Usage { input_tokens, output_tokens, ..Usage::default() });
    Reply { text: Some("Done.".into()), usage, ..Reply::default() }.into()
}

#[tokio::test]
async fn the_cost_is_told_in_the_answer_and_in_the_event() {
    let bench = bench(priced()).await;
    bench.script("primary", Script::once([Step::status(503), counting(1_000, 100)])).await;
    let asked = request();
    let answer = bench.generate(asked.clone()).await.expect("answers");
    assert_eq!(answer.cost_usd_micros, Some(3_000 + 1_500));
    let costs: Vec<_> = answer.attempts.iter().map(|attempt| attempt.cost_usd_micros).collect();
    assert_eq!(costs, [None, Some(4_500)], "what the failed one cost is not known");
    let usage = answer.attempts[1].usage.expect("usage");
    assert_eq!((usage.input_tokens, usage.output_tokens), (1_000, 100));

    let told = attributes(&bench.event(&asked.request_id).await);
    assert_eq!(told["cost_usd_micros"], 4_500);
    let costs = [&told["attempts"][0]["cost_usd_micros"], &told["attempts"][1]["cost_usd_micros"]];
    assert_eq!(costs, [&Value::Null, &json!(4_500)]);
}

#[tokio::test]
async fn without_a_price_no_cost_is_made_up() {
    let bench = bench(Plan::default()).await;
    let asked = request();
    let answer = bench.generate(asked.clone()).await.expect("answers");
    assert_eq!((answer.cost_usd_micros, answer.attempts[0].cost_usd_micros), (None, None));
    assert!(attributes(&bench.event(&asked.request_id).await)["cost_usd_micros"].is_null());
    let listed = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    let model = &listed.into_inner().models[0];
    assert_eq!((model.input_price_usd_micros, model.context_window_tokens), (None, 0));
}

#[tokio::test]
async fn models_are_listed_with_their_sizes_and_prices() {
    let bench = bench(priced()).await;
    let listed = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    for model in listed.into_inner().models {
        let prices = (model.input_price_usd_micros, model.output_price_usd_micros);
        assert_eq!(prices, (Some(3_000_000), Some(15_000_000)));
        assert_eq!((model.context_window_tokens, model.output_tokens_max), (200_000, 64_000));
    }
}

/// A prompt of some hundred thousand tokens, and a route with a small model before a large one.
#[tokio::test]
async fn a_model_that_is_too_small_is_not_sent_the_request() {
    let bench = bench(Plan { model: "context_window_tokens = 10000", ..Plan::default() }).await;
    let mut asked = request();
    asked.system = "What was said in the meeting, word for word. ".repeat(10_000);
    let error = bench.generate(asked.clone()).await.expect_err("too long for all");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "REQUEST_REJECTED_BY_MODEL"));
    assert_eq!(
        metadata(&error, "excluded"),
        "primary: CONTEXT_LENGTH; fallback: CONTEXT_LENGTH; local: CONTEXT_LENGTH"
    );
    assert_eq!(bench.counts().await, [0, 0, 0]);
    let event = bench.event(&asked.request_id).await;
    assert_eq!(event.outcome, "refused");
    assert_eq!(attributes(&event)["error"], "REQUEST_REJECTED_BY_MODEL");

    let explained = pb::ExplainRouteRequest { generate: Some(asked), ..pb::ExplainRouteRequest::default() };
    let explained = bench.client.clone().explain_route(explained).await.expect("explains").into_inner();
    assert_eq!(explained.excluded[0].reason, "CONTEXT_LENGTH");
    assert!(explained.input_tokens > 50_000, "{}", explained.input_tokens);
    bench.generate(request()).await.expect("a short one fits");
}
