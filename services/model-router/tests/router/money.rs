//! What calls cost, and who is told.

use std::time::Duration;

use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Reply, Script, Step, Usage};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{Bench, PATIENCE, Plan, attributes, bench, metadata, on, reason, request};

/// Prices of every model: three dollars for a million tokens of prompt, fifteen for as many of an answer.
const PRICED: &str = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000\n\
                      context_window_tokens = 200000\noutput_tokens_max = 64000";

/// As the bench configures it.
const DEFAULT_CHAIN: &str = r#"chain = ["primary", "fallback", "local"]"#;

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
    let of = |key: &str| [0, 1].map(|at: usize| told["attempts"][at][key].clone());
    assert_eq!(of("cost_usd_micros"), [Value::Null, json!(4_500)]);
    assert_eq!(of("charged_usd_micros"), [json!(0), json!(4_500)], "the provider refused the first");
    assert_eq!((&told["charged_usd_micros"], &told["charge_is_estimate"]), (&json!(4_500), &json!(false)));
}

#[tokio::test]
async fn the_event_says_what_budgets_were_charged_and_whether_it_is_an_estimate() {
    let bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", Action::Cut.into()).await;
    bench.always("fallback", counting(1_000, 0)).await;
    let asked = pb::GenerateRequest { max_output_tokens: 100, ..on("cloud") };
    bench.generate(asked.clone()).await.expect("answers");
    let told = attributes(&bench.event(&asked.request_id).await);
    let spent = bench.budgets("").await[0].spent_usd_micros;
    assert!(spent > 3_000, "the one that broke off is paid for: {spent}");
    assert_eq!((&told["charged_usd_micros"], &told["charge_is_estimate"]), (&json!(spent), &json!(true)));
    assert_eq!(told["cost_usd_micros"], 3_000, "what providers counted");
    let attempts = told["attempts"].as_array().expect("a list");
    let (last, broken) = attempts.split_last().expect("some");
    assert_eq!((&last["charged_usd_micros"], &last["charge_is_estimate"]), (&json!(3_000), &json!(false)));
    for attempt in broken {
        assert!(attempt["cost_usd_micros"].is_null() && attempt["charge_is_estimate"] == true, "{attempt}");
    }

    // The caller leaves: its event says what the attempt is charged that ran.
    bench.always("primary", Action::Silence.into()).await;
    let (asked, before) = (in_session(""), bench.received("primary").await.len());
    let arrived = async {
        while bench.received("primary").await.len() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = bench.generate(asked.clone()) => panic!("{answer:?}"),
        arrived = tokio::time::timeout(PATIENCE, arrived) => arrived.expect("it is sent"),
    }
    let told = attributes(&bench.event(&asked.request_id).await);
    assert_eq!(told["attempts"][0]["charge_is_estimate"], true);
    assert_eq!(told["charged_usd_micros"], bench.budgets("").await[0].spent_usd_micros - spent);
    assert!(told["charged_usd_micros"].as_u64().is_some_and(|charged| charged > 0), "{told}");
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

fn in_session(session_id: &str) -> pb::GenerateRequest {
    let context = Some(RunContext { session_id: session_id.into(), ..RunContext::default() });
    pb::GenerateRequest { context, max_output_tokens: 100, ..on("short") }
}

/// Of a tenant a cent a month, and of a session four tenths of a cent.
const BUDGETS: &str = "budget = [\
    { name = \"month\", scope = \"tenant\", period = \"month\", alert_usd_micros = 5000, stop_usd_micros = 10000 },\
    { name = \"session\", scope = \"session\", period = \"none\", stop_usd_micros = 4000 },\
]";

#[tokio::test]
async fn a_budget_stops_before_the_call_that_may_lead_above_it_and_a_restart_forgets_nothing() {
    let mut bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", counting(1_000, 0)).await;
    // Three thousandths of a dollar each.
    bench.generate(in_session("s1")).await.expect("it is paid for");
    let error = bench.generate(in_session("s1")).await.expect_err("the session has too little left");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "BUDGET_EXHAUSTED"));
    let told = ["budget", "spent_usd_micros", "stop_usd_micros", "attempts"].map(|key| metadata(&error, key));
    assert_eq!(told, ["session", "3000", "4000", "none was tried"]);
    assert!(error.get_details_retry_info().is_none(), "waiting does not help");
    bench.restart().await;
    assert_eq!(reason(&bench.generate(in_session("s1")).await.expect_err("still")), "BUDGET_EXHAUSTED");

    for session_id in ["s2", "s3"] {
        bench.generate(in_session(session_id)).await.expect("it is paid for");
    }
    let error = bench.generate(in_session("")).await.expect_err("the month has too little left");
    assert_eq!(metadata(&error, "budget"), "month");
    assert_eq!(bench.counts().await, [3, 0, 0]);

    let budgets = bench.budgets("").await;
    let spent: Vec<_> = budgets
        .iter()
        .map(|budget| (budget.name.as_str(), budget.session_id.as_str(), budget.spent_usd_micros))
        .collect();
    assert_eq!(
        spent,
        [("month", "", 9_000), ("session", "s1", 3_000), ("session", "s2", 3_000), ("session", "s3", 3_000),]
    );
    assert!(budgets.iter().all(|budget| budget.reserved_usd_micros == 0), "{budgets:?}");
    let bounds = (budgets[0].period_start_time, budgets[0].period_end_time, budgets[1].period_start_time);
    assert!(matches!(bounds, (Some(_), Some(_), None)), "{bounds:?}");
    assert_eq!(bench.budgets("s2").await.len(), 1);
}

#[tokio::test]
async fn a_passed_mark_is_told_once() {
    let bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", counting(2_000, 267)).await;
    // One of ten thousandths and a bit: above the alert and, because its estimate was less, above the stop.
    bench.generate(in_session("")).await.expect("it is paid for");
    let event = bench.event("month").await;
    assert_eq!((event.kind.as_str(), event.outcome.as_str()), ("budget.alerted", "alerted"));
    assert_eq!(attributes(&event)["spent_usd_micros"], 10_005);
    assert_eq!(event.principal.map(|principal| principal.name), Some("scribe".into()));
    let error = bench.generate(in_session("")).await.expect_err("it is used up");
    assert_eq!(metadata(&error, "spent_usd_micros"), "10005");
    let events = bench.events.lock().expect("not poisoned").clone();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["model.call", "budget.alerted", "budget.exhausted"]);
    let told = bench.budgets("").await;
    assert_eq!(told[0].spent_usd_micros, 10_005, "what was used counts, whatever was estimated");
}

#[tokio::test]
async fn a_stop_that_is_lowered_below_what_was_spent_is_told_by_the_first_refusal_alone() {
    let mut bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", counting(1_000, 0)).await;
    bench.generate(in_session("s1")).await.expect("it is paid for");
    bench.configure(|text| {
        text.replace("alert_usd_micros = 5000, stop_usd_micros = 10000", "stop_usd_micros = 3000")
    });
    bench.restart().await;
    for _ in 0..5 {
        assert_eq!(reason(&bench.generate(in_session("")).await.expect_err("used up")), "BUDGET_EXHAUSTED");
    }
    let event = bench.event("month").await;
    assert_eq!(
        (event.kind.as_str(), &attributes(&event)["spent_usd_micros"]),
        ("budget.exhausted", &json!(3_000))
    );
    bench.restart().await;
    for _ in 0..5 {
        bench.generate(in_session("")).await.expect_err("used up");
    }
    // A router that ends has delivered what it wrote.
    bench.restart().await;
    let events = bench.events.lock().expect("not poisoned").clone();
    assert_eq!(events.iter().filter(|event| event.kind == "budget.exhausted").count(), 1);
}

#[tokio::test]
async fn a_request_costs_no_more_than_it_allows() {
    let bench = bench(priced()).await;
    bench.always("primary", Step::status(503)).await;
    let capped = |cost_usd_micros_max, max_output_tokens| {
        let limits = Some(pb::GenerateLimits { cost_usd_micros_max, ..pb::GenerateLimits::default() });
        pb::GenerateRequest { limits, max_output_tokens, ..request() }
    };
    let error = bench.generate(capped(1_000, 100)).await.expect_err("an answer may cost more");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::ResourceExhausted, "COST_LIMIT_REACHED"));
    assert_eq!((metadata(&error, "cost_usd_micros_max"), metadata(&error, "cost_usd_micros")), {
        ("1000".to_owned(), "0".to_owned())
    });
    assert_eq!(bench.counts().await, [0, 0, 0]);
    bench.generate(capped(1_000, 20)).await.expect("a short answer may cost so much");
}

#[tokio::test]
async fn what_a_cache_is_to_keep_is_estimated_at_what_keeping_it_costs() {
    let model = "input_price_usd_micros = 0\noutput_price_usd_micros = 0\n\
                 cache_creation_price_usd_micros = 1000000";
    let bench = bench(Plan { model, ..Plan::default() }).await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 1, ..pb::GenerateLimits::default() });
    let mut asked = pb::GenerateRequest { limits, ..on("cloud") };
    bench.generate(asked.clone()).await.expect("nothing is kept, and the rest is free");
    asked.request_id = request().request_id;
    asked.messages[0].content[0].cache_breakpoint = true;
    let error = bench.generate(asked).await.expect_err("more than a token is to be kept");
    assert_eq!(reason(&error), "COST_LIMIT_REACHED");
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

/// The local model is free, the cloud's cost more than the request allows.
#[tokio::test]
async fn money_is_not_the_last_word_where_a_model_that_it_does_not_stand_against_may_answer_later() {
    let mut bench = bench(Plan { cloud_model: PRICED, model: "attempts_max = 1", ..Plan::default() }).await;
    bench.configure(|text| text.replace(DEFAULT_CHAIN, r#"chain = ["local", "primary"]"#));
    bench.restart().await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 100, ..pb::GenerateLimits::default() });
    let asked = || pb::GenerateRequest { limits, max_output_tokens: 100, ..request() };
    bench.always("local", Step::status(503)).await;
    let status = bench.generate(asked()).await.expect_err("one is down, the other too dear");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NO_MODEL_ANSWERED"));
    assert_eq!(metadata(&status, "excluded"), "primary: COST_LIMIT_REACHED");
    assert!(status.get_details_retry_info().is_some(), "the one that is down may be back");
    bench.always("local", Step::status(401)).await;
    let status = bench.generate(asked()).await.expect_err("one has no key, the other is too dear");
    assert_eq!(reason(&status), "COST_LIMIT_REACHED");
    assert!(status.get_details_retry_info().is_none());
}

#[tokio::test]
async fn money_is_not_the_last_word_where_a_model_that_it_does_not_stand_against_had_no_place() {
    let (model, settings) = ("concurrency_min = 1\nconcurrency_max = 1", "patience_ms = 100");
    let mut bench = bench(Plan { cloud_model: PRICED, model, settings, ..Plan::default() }).await;
    bench.configure(|text| text.replace(DEFAULT_CHAIN, r#"chain = ["primary", "local"]"#));
    bench.restart().await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 100, ..pb::GenerateLimits::default() });
    let asked = || pb::GenerateRequest { limits, max_output_tokens: 100, ..request() };
    bench.always("local", Step::text("here").after_ms(2_000)).await;
    let (slow, status) = tokio::join!(bench.generate(asked()), async {
        while bench.received("local").await.is_empty() {
            tokio::task::yield_now().await;
        }
        bench.generate(asked()).await.expect_err("one is too dear, the other taken")
    });
    assert_eq!(slow.expect("answers").model, "local");
    assert_eq!(reason(&status), "NO_MODEL_ANSWERED");
    assert!(status.get_details_retry_info().is_some());
}

#[tokio::test]
async fn a_cost_that_nobody_knows_is_not_risked() {
    let bench = bench(Plan::default()).await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 1_000, ..pb::GenerateLimits::default() });
    let asked = pb::GenerateRequest { limits, ..request() };
    let answer = bench.generate(asked.clone()).await.expect("the local one is free");
    assert_eq!(answer.model, "local");
    let asked = pb::GenerateRequest { request_id: request().request_id, route: "cloud".into(), ..asked };
    let error = bench.generate(asked).await.expect_err("nobody knows what the others cost");
    assert_eq!(reason(&error), "COST_LIMIT_REACHED");
    assert_eq!(bench.counts().await, [0, 0, 1]);
}

#[tokio::test]
async fn what_could_not_be_stored_is_stored_with_the_next_call_and_told_once() {
    let mut bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", counting(2_000, 0)).await;
    let options = SqliteConnectOptions::new().filename(bench.folder.path().join("data/router.db"));
    let mut intruder = SqliteConnection::connect_with(&options).await.expect("opens");
    intruder.execute("BEGIN IMMEDIATE").await.expect("locked");
    let error = bench.generate(in_session("")).await.expect_err("it cannot be recorded");
    assert_eq!(reason(&error), "ANSWER_WITHHELD");
    intruder.execute("ROLLBACK").await.expect("free");
    bench.ready().await;
    assert_eq!(bench.budgets("").await[0].spent_usd_micros, 6_000, "it was paid, whatever could be stored");
    bench.always("primary", counting(500, 0)).await;
    for _ in 0..2 {
        bench.generate(in_session("")).await.expect("it is paid for");
    }
    bench.restart().await;
    assert_eq!(bench.budgets("").await[0].spent_usd_micros, 9_000);
    let events = bench.events.lock().expect("not poisoned").clone();
    let alerts: Vec<_> = events.iter().filter(|event| event.kind == "budget.alerted").collect();
    assert_eq!(alerts.len(), 1, "the call that passed the mark could not be recorded");
    assert_eq!(attributes(alerts[0])["spent_usd_micros"], 6_000);
}

#[tokio::test]
async fn what_was_spent_of_a_budget_that_is_gone_leaves_the_store() {
    let mut bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.generate(in_session("s1")).await.expect("it is paid for");
    bench.configure(|text| text.replace("name = \"session\"", "name = \"other\""));
    bench.restart().await;
    let options =
        SqliteConnectOptions::new().filename(bench.folder.path().join("data/router.db")).read_only(true);
    let mut reader = SqliteConnection::connect_with(&options).await.expect("opens");
    let swept = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let read = "SELECT budget FROM spending";
        while sqlx::query_scalar::<_, String>(read).fetch_all(&mut reader).await.expect("reads")
            != ["month/month"]
        {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, swept).await.expect("it is swept");
    assert!(bench.budgets("").await[0].spent_usd_micros > 0, "the other one stays");
}

async fn explained(bench: &Bench, asked: &pb::GenerateRequest) -> pb::ExplainRouteResponse {
    let generate = Some(pb::GenerateRequest { request_id: String::new(), ..asked.clone() });
    let asked = pb::ExplainRouteRequest { generate, ..pb::ExplainRouteRequest::default() };
    bench.client.clone().explain_route(asked).await.expect("explains").into_inner()
}

fn left_out(explained: &pb::ExplainRouteResponse) -> Vec<(&str, &str)> {
    explained.excluded.iter().map(|left| (left.model.as_str(), left.reason.as_str())).collect()
}

#[tokio::test]
async fn an_explanation_says_which_models_money_stands_against_as_a_call_would_find() {
    let bench = bench(Plan { settings: BUDGETS, ..priced() }).await;
    bench.always("primary", counting(1_000, 0)).await;
    let asked = in_session("s1");
    assert_eq!(explained(&bench, &asked).await.planned.len(), 1);
    bench.generate(asked.clone()).await.expect("it is paid for");
    let told = explained(&bench, &asked).await;
    assert_eq!((told.planned.len(), left_out(&told)), (0, vec![("primary", "BUDGET_EXHAUSTED")]));
    let detail = &told.excluded[0].detail;
    assert!(detail.contains("the budget session stops at $0.004000; $0.003000 of it are spent"), "{detail}");
    let error = bench.generate(in_session("s1")).await.expect_err("as it was told");
    assert_eq!(reason(&error), "BUDGET_EXHAUSTED");
    assert_eq!(explained(&bench, &in_session("s2")).await.planned.len(), 1, "another session has its own");
    // Of a request that is not given, only what is used up is known.
    let context = RunContext { session_id: "s1".into(), ..RunContext::default() };
    assert!(bench.explain("short", Some(context)).await.excluded.is_empty());
}

#[tokio::test]
async fn an_explanation_says_which_models_are_too_dear_for_the_request() {
    let bench = bench(priced()).await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 100, ..pb::GenerateLimits::default() });
    let asked = pb::GenerateRequest { limits, max_output_tokens: 100, ..request() };
    let told = explained(&bench, &asked).await;
    let dear = |model| (model, "COST_LIMIT_REACHED");
    assert_eq!(left_out(&told), [dear("primary"), dear("fallback"), dear("local")]);
    assert!(told.excluded[0].detail.ends_with(", and the request allows $0.000100"), "{:?}", told.excluded);
    let error = bench.generate(asked).await.expect_err("as it was told");
    assert_eq!(reason(&error), "COST_LIMIT_REACHED");
}
