//! The contract as the running services keep it: what is not implemented, who is refused, health and
//! reflection.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bulkhead_proto::refused;
use bulkhead_proto::rules::{self, MethodRule, by_path};
use bulkhead_tests::{Options, Sandbox};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use tonic::transport::Channel;

/// What this build does not implement, one RPC a line.
const UNIMPLEMENTED: &str = include_str!("../unimplemented.txt");

/// `ToolProviderService` is implemented by users' own servers.
const ELSEWHERE: &str = "bulkhead.tools.v1.ToolProviderService";

/// How an RPC answered an empty request.
#[derive(Debug)]
struct Answer {
    code: i32,
    reason: String,
    /// Named by a BadRequest.
    fields: Vec<String>,
}

fn service_of(rule: &MethodRule) -> &'static str {
    match rule.service.as_str() {
        service if service.starts_with("bulkhead.router.") => "model-router",
        service if service.starts_with("bulkhead.tools.") => "tool-executor",
        service if service.starts_with("bulkhead.approval.") => "approval",
        _ => "audit",
    }
}

/// An empty message of any type, by hand: no generated client would call what it does not know.
async fn call(sandbox: &Sandbox, rule: &MethodRule, token: Option<&str>) -> anyhow::Result<Answer> {
    send(sandbox, rule, token, &[]).await
}

/// The same with a message.
async fn send(
    sandbox: &Sandbox,
    rule: &MethodRule,
    token: Option<&str>,
    message: &[u8],
) -> anyhow::Result<Answer> {
    let length = u32::try_from(message.len())?;
    let frame: Vec<u8> = [0].into_iter().chain(length.to_be_bytes()).chain(message.iter().copied()).collect();
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let uri = format!("http://{}{}", sandbox.address(service_of(rule))?, rule.path());
    let mut request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "2S");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = client.request(request.body(Full::new(Bytes::from(frame)))?).await?;
    let mut headers = response.headers().clone();
    if !headers.contains_key("grpc-status") {
        let body = response.into_body().collect().await?;
        headers.extend(body.trailers().cloned().unwrap_or_default());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let code = text("grpc-status").context("no grpc-status")?.parse()?;
    let status = tonic::Status::from_header_map(&headers).context("no status")?;
    let info = tonic_types::StatusExt::get_details_error_info(&status);
    let bad = tonic_types::StatusExt::get_details_bad_request(&status);
    let violations = bad.into_iter().flat_map(|bad| bad.field_violations);
    let fields = violations.map(|violation| violation.field).collect();
    Ok(Answer { code, reason: info.map_or_else(String::new, |info| info.reason), fields })
}

fn rules() -> anyhow::Result<Vec<MethodRule>> {
    let mut rules: Vec<_> = by_path()?.into_values().filter(|rule| rule.service != ELSEWHERE).collect();
    rules.sort_by_key(MethodRule::path);
    Ok(rules)
}

#[tokio::test]
async fn what_is_not_implemented_is_listed_and_nothing_else() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let mut unimplemented = BTreeSet::new();
    for rule in rules()? {
        let role = rule.roles.first().context("no roles")?;
        let answer = call(&sandbox, &rule, Some(&sandbox.token(role)?)).await?;
        if answer.code == 12 {
            assert_eq!(answer.reason, "RPC_NOT_IMPLEMENTED", "{}", rule.path());
            unimplemented.insert(rule.path().trim_start_matches('/').to_owned());
        }
    }
    let listed: BTreeSet<_> = UNIMPLEMENTED.lines().map(str::to_owned).collect();
    assert_eq!(unimplemented, listed);
    Ok(())
}

#[tokio::test]
async fn every_rpc_refuses_strangers_and_wrong_roles() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    // What each token's holder may do; the operator of a first start approves as well.
    let holders = [
        ("agent", &["agent"][..]),
        ("approver", &["approver"]),
        ("operator", &["operator", "approver"]),
        ("auditor", &["auditor"]),
        ("service", &["service"]),
    ];
    for rule in rules()? {
        let stranger = call(&sandbox, &rule, None).await?;
        assert_eq!((stranger.code, stranger.reason.as_str()), (16, "CREDENTIAL_REQUIRED"), "{}", rule.path());
        for (token, roles) in holders {
            let answer = call(&sandbox, &rule, Some(&sandbox.token(token)?)).await?;
            let allowed = rule.roles.iter().any(|role| roles.contains(&role.as_str()));
            let refused = (answer.code, answer.reason.as_str()) == (7, "ROLE_REQUIRED");
            assert_eq!(refused, !allowed, "{} by {token}: {answer:?}", rule.path());
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_request_is_never_the_services_fault() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    for rule in rules()? {
        let role = rule.roles.first().context("no roles")?;
        let answer = call(&sandbox, &rule, Some(&sandbox.token(role)?)).await?;
        let internal = [2, 13, 15].contains(&answer.code);
        assert!(!internal, "{} answered {answer:?}", rule.path());
        if rule.mutating && answer.code != 12 {
            assert_eq!((answer.code, answer.reason.as_str()), (3, "INVALID_REQUEST"), "{}", rule.path());
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_service_tells_its_health_and_describes_itself() -> anyhow::Result<()> {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest as AlphaRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as Alpha;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest as AlphaMessage;

    let sandbox = Sandbox::start(Options::default()).await?;
    for rule in rules()? {
        let mut health = HealthClient::new(stranger(&sandbox, service_of(&rule))?);
        for service in ["", rule.service.as_str()] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await?.into_inner();
            assert_eq!(answer.status, 1, "{} of {}", service, rule.path());
        }
    }
    for service in ["model-router", "tool-executor", "approval", "audit"] {
        let channel = stranger(&sandbox, service)?;
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut reflection = ServerReflectionClient::new(channel.clone());
        let mut answers = reflection.server_reflection_info(tokio_stream::once(ask)).await?.into_inner();
        let answer = answers.message().await?.and_then(|answer| answer.message_response);
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { anyhow::bail!("no list") };
        let names: BTreeSet<_> = list.service.into_iter().map(|service| service.name).collect();
        for expected in [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            assert!(names.contains(expected), "{service} does not list {expected}: {names:?}");
        }
        let ours = names.iter().filter(|name| name.starts_with("bulkhead.")).count();
        assert!(ours >= 1, "{service} lists {names:?}");
        let ask = AlphaRequest {
            host: String::new(),
            message_request: Some(AlphaMessage::ListServices(String::new())),
        };
        let mut answers =
            Alpha::new(channel).server_reflection_info(tokio_stream::once(ask)).await?.into_inner();
        assert!(answers.message().await?.is_some(), "{service} does not answer v1alpha");
    }
    Ok(())
}

/// A connection without a credential.
fn stranger(sandbox: &Sandbox, service: &str) -> anyhow::Result<Channel> {
    Ok(Channel::from_shared(format!("http://{}", sandbox.address(service)?))?.connect_lazy())
}

/// An encoded request that sets nothing but the field at the end of `path`.
fn setting(path: &[FieldDescriptor]) -> Vec<u8> {
    let mut inner = Vec::new();
    for (depth, field) in path.iter().rev().enumerate() {
        let mut outer = Vec::new();
        if depth == 0 && !matches!(field.kind(), Kind::Message(_) | Kind::String | Kind::Bytes) {
            // One, as a varint or in its fixed width.
            match field.kind() {
                Kind::Float => outer.extend([(field.number() << 3 | 5).try_into().unwrap_or(0), 1, 1, 1, 1]),
                _ => {
                    prost::encoding::encode_varint(u64::from(field.number()) << 3, &mut outer);
                    outer.push(1);
                }
            }
        } else {
            let content = if depth == 0 { b"\x0a\x00".to_vec() } else { inner };
            prost::encoding::encode_varint(u64::from(field.number()) << 3 | 2, &mut outer);
            prost::encoding::encode_varint(content.len().try_into().unwrap_or(0), &mut outer);
            outer.extend(content);
        }
        inner = outer;
    }
    inner
}

/// The ways to every field of a message that is refused for now.
fn refused_in(message: &MessageDescriptor, way: &[FieldDescriptor], found: &mut Vec<Vec<FieldDescriptor>>) {
    for field in message.fields() {
        let way: Vec<_> = way.iter().cloned().chain([field.clone()]).collect();
        match field.kind() {
            _ if refused::is_refused(&field) => found.push(way),
            Kind::Message(inner) if way.len() < 5 => refused_in(&inner, &way, found),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_and_named() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(Options::default()).await?;
    let pool = rules::pool()?;
    let mut tried = 0;
    for rule in
        rules()?.into_iter().filter(|rule| !UNIMPLEMENTED.contains(rule.path().trim_start_matches('/')))
    {
        let service = pool.get_service_by_name(&rule.service).context("a service")?;
        let method = service.methods().find(|method| method.name() == rule.method).context("a method")?;
        let mut ways = Vec::new();
        refused_in(&method.input(), &[], &mut ways);
        let role = rule.roles.first().context("no roles")?;
        for way in ways {
            let answer = send(&sandbox, &rule, Some(&sandbox.token(role)?), &setting(&way)).await?;
            let last = way.last().context("a field")?.name();
            let told = answer.fields.iter().any(|field| field.trim_end_matches("[0]").ends_with(last));
            assert_eq!(
                (answer.code, answer.reason.as_str()),
                (3, "INVALID_REQUEST"),
                "{} {last}",
                rule.path()
            );
            assert!(told, "{} with {last}: {answer:?}", rule.path());
            tried += 1;
        }
    }
    assert!(tried >= 20, "only {tried} fields found");
    Ok(())
}
