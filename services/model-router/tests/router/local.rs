//! Requests that only local models may see.

use std::time::Duration;

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Step};
use tokio::net::TcpListener;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{
    Plan, bench, child_command, closed_port, metadata, on, reason, request, run_child, sensitive, story,
    write_config,
};

#[tokio::test]
async fn a_sensitive_request_goes_to_local_models_alone() {
    let bench = bench(Plan::default()).await;
    let answer = bench.generate(sensitive("default")).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("local", "", 200)]);
    assert_eq!(bench.counts().await, [0, 0, 1]);
}

#[tokio::test]
async fn it_stays_there_through_every_failure() {
    for step in [Step::status(503), Step::status(429), Action::Reset.into(), Step::status(401)] {
        let bench = bench(Plan::default()).await;
        bench.always("local", step).await;
        let error = bench.generate(sensitive("default")).await.expect_err("its only model fails");
        assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "NO_MODEL_ANSWERED"));
        assert_eq!(metadata(&error, "local_only"), "true");
        let [primary, fallback, local] = bench.counts().await;
        assert_eq!((primary, fallback), (0, 0), "it left the house");
        assert!(local >= 1);
    }
}

#[tokio::test]
async fn without_a_local_model_it_is_sent_nowhere() {
    let bench = bench(Plan::default()).await;
    let error = bench.generate(sensitive("cloud")).await.expect_err("no local model");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::FailedPrecondition, "NO_LOCAL_MODEL"));
    assert_eq!(metadata(&error, "excluded"), "primary: NOT_LOCAL; fallback: NOT_LOCAL");

    bench.always("local", Step::status(404)).await;
    bench.generate(sensitive("default")).await.expect_err("marks it");
    let error = bench.generate(sensitive("default")).await.expect_err("marked");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::Unavailable, "LOCAL_MODELS_DOWN"));
    let delay = error.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay >= Duration::from_secs(1)), "worth a retry: {delay:?}");
    assert_eq!(bench.counts().await, [0, 0, 1]);
}

#[tokio::test]
async fn a_local_model_that_is_down_is_no_reason_to_go_elsewhere() {
    let bench = bench(Plan { local_url: Some(closed_port().await), ..Plan::default() }).await;
    let error = bench.generate(sensitive("default")).await.expect_err("down");
    assert_eq!(metadata(&error, "attempts"), "local: CONNECT; local: CONNECT; local: CONNECT");
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_name_that_resolves_to_another_network_is_not_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let settings = "local_networks = [\"10.255.0.0/16\"]";
    let local_url = Some(format!("http://localhost:{port}"));
    let bench = bench(Plan { settings, local_url, ..Plan::default() }).await;
    let error = bench.generate(sensitive("default")).await.expect_err("not local");
    assert_eq!(metadata(&error, "attempts"), "local: CONNECT", "a lasting condition is not retried");
    let knocked = futures::FutureExt::now_or_never(listener.accept());
    assert!(knocked.is_none(), "somebody was connected to");

    let models = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    let local = models.into_inner().models.into_iter().find(|model| model.name == "local").expect("there");
    assert!(!local.usable && local.retry_time.is_some(), "{local:?}");
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    let bench = bench(Plan::default()).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &bench.simulator.url(), &closed_port().await, &Plan::default());
    let mut command = child_command(folder.path());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env(name, &url);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let (_child, mut client) = run_child(command).await;
    for request in [request(), sensitive("default"), on("cloud")] {
        client.generate(request).await.expect("answers without the proxy");
    }
    assert!(futures::FutureExt::now_or_never(proxy.accept()).is_none(), "the proxy was used");
}
