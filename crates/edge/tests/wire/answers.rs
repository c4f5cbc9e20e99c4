//! What is answered to requests that are well framed and otherwise wrong.

use http::{Request, StatusCode};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::fixture::{Fixture, start};
use super::raw::{BOUND, QUERY, asking, done, info, query, to};

#[tokio::test]
async fn a_call_that_is_right_is_answered_with_trailers() {
    let fixture = start().await;
    let answer = fixture.connect().await.call(done(query()), asking("")).await;
    assert_eq!(answer.grpc().code(), Code::Ok);
    assert_eq!(answer.trailers.as_ref().expect("trailers")["grpc-status"], "0");
    assert_eq!(answer.body, b"\0\0\0\0\0", "an empty message in its frame");
}

#[tokio::test]
async fn every_timeout_that_is_none_is_named() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let wrong = ["", "S", "5", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "0x1S", "soon", "1µ"];
    for timeout in wrong {
        let request = query()
            .header("grpc-timeout", http::HeaderValue::from_bytes(timeout.as_bytes()).expect("a header"));
        let answer = connection.call(done(request), asking("")).await;
        assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()), "{timeout:?}");
        let violations = answer.grpc().get_details_bad_request().expect("violations").field_violations;
        assert_eq!(violations[0].field, "grpc-timeout", "{timeout:?}");
    }
    let twice = query().header("grpc-timeout", "1S").header("grpc-timeout", "2S");
    let answer = connection.call(done(twice), asking("")).await;
    assert_eq!(answer.refusal(), (Code::InvalidArgument, "INVALID_REQUEST".to_owned()));
}

#[tokio::test]
async fn the_callers_time_bounds_the_handler_and_a_body_that_does_not_come() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let late = connection.call(done(query().header("grpc-timeout", "100m")), asking("hang")).await;
    assert_eq!(late.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(info(&late.grpc()).metadata["timeout_ms"], "100");
    Fixture::until(&fixture.probe.dropped).await;

    for body in [&b""[..], b"\0\0\0", &asking("")] {
        let mut open = connection.begin(done(query().header("grpc-timeout", "100m"))).await;
        open.data(body.to_vec(), false);
        let answer = open.answer().await;
        assert_eq!(answer.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{body:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented_for_grpc_and_not_found_for_http() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let rows = [
        ("/bulkhead.audit.v1.AuditService/Nope", "UNKNOWN_RPC"),
        ("/bulkhead.audit.v1.AuditService/", "UNKNOWN_RPC"),
        ("/bulkhead.audit.v1.AuditService/GetInclusionProof", "RPC_NOT_IMPLEMENTED"),
        ("/bulkhead.nope.v1.NopeService/Nope", "UNKNOWN_RPC"),
        ("/grpc.health.v1.Health/Nope", "UNKNOWN_RPC"),
        ("/nope", "UNKNOWN_RPC"),
        ("/", "UNKNOWN_RPC"),
    ];
    for (path, reason) in rows {
        let answer = connection.call(done(to(path)), asking("")).await;
        assert_eq!(answer.refusal(), (Code::Unimplemented, reason.to_owned()), "{path}");
    }
    for path in ["/nope", "/", "/bulkhead.nope.v1.NopeService/Nope"] {
        let get = Request::get(format!("http://edge.test{path}"));
        let answer = connection.call(done(get), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let post =
            Request::post(format!("http://edge.test{path}")).header("content-type", "application/json");
        assert_eq!(connection.call(done(post), "{}").await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_told_so_in_http() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let request = query().method(method);
        let answer = connection.call(done(request), "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.headers["allow"], "POST");
    }
    let types = [
        "application/json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc+json",
        "text/plain",
        "",
    ];
    for content_type in types {
        let post = Request::post(format!("http://edge.test{QUERY}")).header("content-type", content_type);
        let answer = connection.call(done(post), asking("")).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
    }
    let untyped = Request::post(format!("http://edge.test{QUERY}"));
    assert_eq!(connection.call(done(untyped), asking("")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn honest_variants_of_the_protocol_are_accepted() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    // Proxies take `te` away; some clients name the codec.
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        let request = Request::post(format!("http://edge.test{QUERY}"))
            .header("content-type", content_type)
            .header("authorization", "bearer token-of-auditor");
        assert_eq!(
            connection.call(done(request), asking("")).await.grpc().code(),
            Code::Ok,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn a_panic_ends_its_call_and_leaves_the_others_of_its_connection() {
    let mut fixture = start().await;
    let connection = fixture.connect().await;
    let mut other = connection.begin(done(query())).await;
    other.data(asking("hold"), true);
    fixture.next_holder().await;

    let answer = connection.call(done(query()), asking("panic")).await;
    assert_eq!(answer.refusal(), (Code::Internal, "HANDLER_PANICKED".to_owned()));
    let id = answer.headers["x-request-id"].to_str().expect("text");
    assert_eq!(info(&answer.grpc()).metadata["request_id"], id);
    assert!(answer.grpc().message().contains(id));

    fixture.release(1);
    let unharmed = tokio::time::timeout(BOUND, other.answer()).await.expect("in time");
    assert_eq!(unharmed.grpc().code(), Code::Ok);
}
