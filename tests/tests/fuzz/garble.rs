//! Calls that are wrong somewhere: in the message, its frame, or its headers.

use bulkhead_tests::probe::{Ask, World};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::Target;

/// How deep a made-up message goes.
const DEPTH: u32 = 4;

/// What was done to a call.
#[derive(Debug)]
pub(crate) struct How {
    /// For a person.
    pub(crate) what: &'static str,
    /// Whether an answer in HTTP, without a gRPC status, is right too.
    pub(crate) may_break_http: bool,
}

/// A call of `target` by `holder`, wrong somewhere, or by chance nowhere.
pub(crate) fn call(
    world: &World,
    target: &Target,
    holder: &str,
    random: &mut StdRng,
) -> anyhow::Result<(Ask, How)> {
    let message = match random.random_range(0..3) {
        0 => noise(random, 300),
        1 => damaged(&target.valid, random),
        _ => invented(&target.method.input, DEPTH, random).encode_to_vec(),
    };
    let mut ask = world.call(&target.method, &message)?;
    ask.token = world.sandbox.token(holder)?;
    if target.method.rule.server_streaming {
        ask.timeout = "100m";
    }
    let how = match random.random_range(0..10) {
        0 => frame(&mut ask, random),
        1 | 2 => headers(&mut ask, random),
        3 => {
            ask.token = ["", "bhk_", "x y", "\u{e9}", &"f".repeat(500)][random.random_range(0..5)].to_owned();
            How { what: "token", may_break_http: false }
        }
        _ => How { what: "message", may_break_http: false },
    };
    Ok((ask, how))
}

/// The five bytes before the message, or where the body ends.
fn frame(ask: &mut Ask, random: &mut StdRng) -> How {
    let mut body = ask.body.to_vec();
    match random.random_range(0..6) {
        0 => body[0] = random.random(),
        1 => body[1..5].copy_from_slice(&random.random::<[u8; 4]>()),
        2 => body.truncate(random.random_range(0..=body.len())),
        3 => body.extend(noise(random, 20)),
        4 => body.extend(body.clone()),
        _ => body = noise(random, 100),
    }
    ask.body = Bytes::from(body);
    How { what: "frame", may_break_http: false }
}

fn headers(ask: &mut Ask, random: &mut StdRng) -> How {
    const NAMES: [&str; 12] = [
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "content-type",
        "te",
        "authorization",
        "traceparent",
        "tracestate",
        "x-request-id",
        "grpc-trace-bin",
        "user-agent",
        "cookie",
    ];
    const VALUES: [&str; 12] = [
        "",
        "-1S",
        "99999999999S",
        "gzip",
        "zstd,identity",
        "application/json",
        "application/grpc+json",
        "Bearer",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "!!not base64!!",
        "a=b,c=d;e",
    ];
    for _ in 0..random.random_range(1..4) {
        let name = HeaderName::from_static(NAMES[random.random_range(0..NAMES.len())]);
        let value = if random.random() {
            HeaderValue::from_static(VALUES[random.random_range(0..VALUES.len())])
        } else {
            let bytes: Vec<u8> = noise(random, 80).into_iter().map(|byte| byte.clamp(b' ', b'~')).collect();
            HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("x"))
        };
        ask.headers.append(name, value);
    }
    How { what: "headers", may_break_http: true }
}

/// A valid message with a few bytes changed, cut out, doubled or put in.
fn damaged(valid: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..20)).min(bytes.len());
        match random.random_range(0..4) {
            0 if at < bytes.len() => bytes[at] = random.random(),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.splice(at..at, noise(random, 8))),
        }
    }
    bytes
}

/// A message of the right shape with any content.
fn invented(descriptor: &MessageDescriptor, depth: u32, random: &mut StdRng) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if random.random_ratio(1, 4) || (depth == 0 && matches!(field.kind(), Kind::Message(_))) {
            continue;
        }
        let value = if field.is_list() {
            let count = random.random_range(0..4);
            Value::List((0..count).map(|_| value(&field, depth, random)).collect())
        } else {
            value(&field, depth, random)
        };
        message.set_field(&field, value);
    }
    message
}

fn value(field: &FieldDescriptor, depth: u32, random: &mut StdRng) -> Value {
    match field.kind() {
        Kind::String => Value::String(text(random)),
        Kind::Bytes => Value::Bytes(noise(random, 40).into()),
        Kind::Bool => Value::Bool(random.random()),
        Kind::Enum(_) => Value::EnumNumber(random.random_range(-2..20)),
        Kind::Uint32 => Value::U32(random.random::<u32>() >> random.random_range(0..32)),
        Kind::Uint64 => Value::U64(random.random::<u64>() >> random.random_range(0..64)),
        Kind::Int32 => Value::I32(random.random::<i32>() >> random.random_range(0..32)),
        Kind::Int64 => Value::I64(random.random::<i64>() >> random.random_range(0..64)),
        Kind::Float => Value::F32(f32::from_bits(random.random())),
        Kind::Message(inner) => Value::Message(invented(&inner, depth.saturating_sub(1), random)),
        other => panic!("{}: invent a {other:?}", field.full_name()),
    }
}

fn text(random: &mut StdRng) -> String {
    const TEXTS: [&str; 12] = [
        "",
        "default",
        "agent",
        "fs.write",
        "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55",
        "{}",
        r#"{"path":"a.txt"}"#,
        r#"{"path":"a.txt","content":"x"}"#,
        "[[[[",
        "\u{0}",
        "1.ffffffffffff",
        "dba",
    ];
    match random.random_range(0..3) {
        0 => String::from_utf8_lossy(&noise(random, 60)).into_owned(),
        _ => TEXTS.choose(random).copied().unwrap_or_default().to_owned(),
    }
}

pub(crate) fn noise(random: &mut StdRng, longest: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..longest)];
    random.fill(bytes.as_mut_slice());
    bytes
}
