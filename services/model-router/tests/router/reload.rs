//! A configuration that changes while the router runs.

use std::fs::File;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Reply, Step};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;

use crate::bench::{
    Bench, PATIENCE, Plan, bench, child_command, closed_port, configure, on, request, serving_child, text_of,
    write_config,
};

/// One more route, over the last two models.
const NEW_ROUTE: &str = "[[model-router.route]]\nname = \"new\"\nchain = [\"fallback\", \"local\"]\n";

/// Waits until something is so.
async fn until<F: Future<Output = bool>>(what: &'static str, mut is_so: impl FnMut() -> F) {
    let looking = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
        while !is_so().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect(what);
}

/// Whether a route is known by now.
async fn knows(bench: &Bench, route: &str) -> bool {
    let request = pb::ExplainRouteRequest { route: route.into(), ..pb::ExplainRouteRequest::default() };
    let explained = bench.client.clone().explain_route(request).await;
    let unknown = explained.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument);
    assert!(explained.is_ok() || unknown, "{explained:?}");
    !unknown
}

/// Without the model called `primary`.
fn without_primary(text: &str) -> String {
    let (head, rest) = text.split_once("[[model-router.model]]\nname = \"primary\"").expect("a model");
    let (_primary, rest) = rest.split_once("[[model-router.model]]").expect("another");
    let (rest, routes) = rest.split_once("[[model-router.route]]").expect("routes");
    let (default, _others) = routes.split_once("[[model-router.route]]").expect("another");
    format!(
        "{head}[[model-router.model]]{rest}[[model-router.route]]{}",
        default.replace("\"primary\", ", "")
    )
}

#[tokio::test]
async fn calls_end_with_what_they_began_with_and_new_ones_follow_the_change() {
    let bench = bench(Plan::default()).await;
    let slow = |text: &str| Reply { first_after_ms: 1_500, chunks: vec![text.into()], ..Reply::default() };
    bench.always("primary", slow("from before").into()).await;
    bench.always("fallback", Step::text("from now on")).await;
    let (plain, streamed) = (bench.generate(request()), bench.stream(request()));
    let changing = async {
        until("two calls under way", || async { bench.received("primary").await.len() == 2 }).await;
        bench.configure(|text| without_primary(&text) + NEW_ROUTE);
        until("the new route", || knows(&bench, "new")).await;
        for route in ["new", "default"] {
            let answer = bench.generate(on(route)).await.expect("answers");
            assert_eq!((answer.model.as_str(), answer.attempts.len()), ("fallback", 1), "{route}");
        }
    };
    let (plain, streamed, ()) = tokio::join!(plain, streamed, changing);
    let plain = plain.expect("it was not dropped");
    assert_eq!((plain.model.as_str(), text_of(plain.message.as_ref()).as_str()), ("primary", "from before"));
    assert_eq!((streamed.answer().model.as_str(), streamed.text.as_str()), ("primary", "from before"));
    assert_eq!(bench.counts().await, [2, 2, 0], "who is gone is asked no more");
    let models = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    let names: Vec<String> = models.into_inner().models.into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["fallback", "local"]);
}

#[tokio::test]
async fn what_is_known_of_a_model_is_kept_while_it_is_the_same() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::status(401)).await;
    bench.generate(request()).await.expect("the next one answers");
    let reasons = async |route: &str| {
        let answer = bench.explain(route, None).await;
        answer.excluded.into_iter().map(|excluded| (excluded.model, excluded.reason)).collect::<Vec<_>>()
    };
    let marked = [("primary".to_owned(), "MARKED_UNUSABLE".to_owned())];
    assert_eq!(reasons("default").await, marked);
    bench.configure(|text| {
        text.replacen("name = \"primary\"", "name = \"primary\"\nweight = 3", 1) + NEW_ROUTE
    });
    until("the new route", || knows(&bench, "new")).await;
    assert_eq!(reasons("default").await, marked, "another weight is no other model");
    std::fs::write(bench.folder.path().join("key"), "another-key\n").expect("written");
    until("another chance", || async { reasons("default").await.is_empty() }).await;
}

/// Answers 401 to everything and keeps the keys that it was shown, as long as the set is there.
async fn doorkeeper(running: &mut JoinSet<()>) -> (String, Arc<Mutex<Vec<String>>>) {
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let refuse = async |State(keys): State<Arc<Mutex<Vec<String>>>>, headers: HeaderMap| {
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        keys.lock().expect("not poisoned").push(key.to_owned());
        StatusCode::UNAUTHORIZED
    };
    let router = axum::Router::new().fallback(refuse).with_state(Arc::clone(&keys));
    running.spawn(async move { axum::serve(listener, router).await.expect("serves") });
    (url, keys)
}

#[tokio::test]
async fn a_key_file_that_changes_is_used() {
    let mut running = JoinSet::new();
    let (url, keys) = doorkeeper(&mut running).await;
    let bench = bench(Plan { primary_url: Some(url), ..Plan::default() }).await;
    std::fs::write(bench.folder.path().join("key"), "another-key\n").expect("written");
    until("the other key", || async {
        bench.generate(request()).await.expect("the next one answers");
        keys.lock().expect("not poisoned").last().is_some_and(|key| key == "another-key")
    })
    .await;
}

#[tokio::test]
async fn a_limit_that_stays_is_not_full_again_after_a_change() {
    let settings = "limit = [{ name = \"few\", scope = \"tenant\", requests_per_minute_max = 1 }]";
    let bench = bench(Plan { settings, ..Plan::default() }).await;
    bench.generate(request()).await.expect("the one");
    bench.configure(|text| text + NEW_ROUTE);
    until("the new route", || knows(&bench, "new")).await;
    let refused = bench.generate(request()).await.expect_err("it was taken before the change");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    bench.configure(|text| text.replace("minute_max = 1", "minute_max = 1000"));
    until("another limit", || async { bench.generate(request()).await.is_ok() }).await;
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_told_with_all_its_mistakes() {
    let bench = bench(Plan::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &bench.simulator.url(), &closed_port().await, &Plan::default());
    let log = folder.path().join("log");
    let mut command = child_command(folder.path());
    command.stderr(File::create(&log).expect("created"));
    let (child, address) = serving_child(command).await;
    let said = || std::fs::read_to_string(&log).expect("readable");
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.expect("answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let stands = async |state: &str| {
        let line = format!("bulkhead_router_config{{state=\"{state}\"}} 1");
        get("/metrics").await.1.lines().any(|found| found == line)
    };
    assert!(stands("current").await);

    configure(folder.path(), |text| {
        text.replace("local = true", "local = \"maybe\"") + "[[model-router.route]]\n"
    });
    until("a refusal", || stands("refused")).await;
    // The log is written beside what it is about.
    until("the refusal in the log", || async { said().contains("is refused") }).await;
    for mistake in ["model.local.local", "name: is missing", "chain: is missing"] {
        assert!(said().contains(mistake), "{mistake} is not in: {}", said());
    }
    assert_eq!(get("/readyz").await.0, 200, "it goes on by the configuration of before");
    let mut client = crate::bench::client(&address);
    client.generate(request()).await.expect("answers");

    write_config(folder.path(), &bench.simulator.url(), "http://127.0.0.1:9", &Plan::default());
    until("what waits for a start", || stands("restart_needed")).await;
    until("its key in the log", || async { said().contains("model-router.audit.endpoint") }).await;

    let reads = || said().matches("the configuration was read again").count();
    let before = reads();
    let pid = Pid::from_raw(i32::try_from(child.pid()).expect("an id")).expect("an id");
    kill_process(pid, Signal::HUP).expect("told");
    until("another reading", || async { reads() > before }).await;
    client.generate(request()).await.expect("it has not ended");
}
