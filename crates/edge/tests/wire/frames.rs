//! Bodies that are not one whole message.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::fixture::start;
use super::raw::{BOUND, asking, done, frame, info, query};

#[tokio::test]
async fn bodies_that_are_not_one_message_are_the_callers_fault() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let two = [asking(""), asking("")].concat();
    let rows: [(&str, &[u8], &str); 8] = [
        ("no message", b"", "MALFORMED_REQUEST"),
        ("half a prefix", b"\0\0\0", "MALFORMED_REQUEST"),
        ("half a message", b"\0\0\0\0\x09\x0a", "MALFORMED_REQUEST"),
        ("a flag that is none", b"\x07\0\0\0\0", "MALFORMED_REQUEST"),
        ("compressed, but not said how", b"\x01\0\0\0\0", "MALFORMED_REQUEST"),
        ("two messages", &two, "MALFORMED_REQUEST"),
        ("bytes that are no message", b"\0\0\0\0\x02\x0a\xff", "UNDECODABLE_REQUEST"),
        ("text that is not UTF-8", b"\0\0\0\0\x03\x2a\x01\xff", "UNDECODABLE_REQUEST"),
    ];
    for (name, body, reason) in rows {
        let answer = connection.call(done(query()), body.to_vec()).await;
        assert_eq!(answer.refusal(), (Code::InvalidArgument, reason.to_owned()), "{name}");
    }
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_with_the_limit() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let limit = bulkhead_edge::serve::MESSAGE_BYTES_MAX;
    // The prefix alone, of a message that never comes: it is enough to know.
    for prefix in [b"\0\x00\x80\x00\x01", b"\0\xff\xff\xff\xff"] {
        let mut open = connection.begin(done(query())).await;
        open.data(prefix.to_vec(), false);
        let answer = open.answer().await;
        assert_eq!(answer.refusal(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
        assert_eq!(info(&answer.grpc()).metadata["bytes_max"], limit.to_string());
    }
    // A field that the message does not have, so that all that could be wrong is its size.
    let mut largest = vec![0xfa, 0x07];
    let filler = limit - 6;
    largest.extend_from_slice(&[
        u8::try_from(filler & 0x7f | 0x80).expect("seven bits"),
        u8::try_from(filler >> 7 & 0x7f | 0x80).expect("seven bits"),
        u8::try_from(filler >> 14 & 0x7f | 0x80).expect("seven bits"),
        u8::try_from(filler >> 21).expect("what is left"),
    ]);
    largest.resize(limit, 0);
    assert_eq!(connection.call(done(query()), frame(&largest)).await.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn compression_is_refused_before_anything_is_unpacked() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    for encoding in ["gzip", "deflate", "zstd", "br", "no such thing"] {
        let mut open = connection.begin(done(query().header("grpc-encoding", encoding))).await;
        // A bomb of four gigabytes would begin like this. The refusal does not wait for it.
        open.data(b"\x01\xff\xff\xff\xff\x1f\x8b\x08".to_vec(), false);
        let answer = open.answer().await;
        let refused = (Code::Unimplemented, "COMPRESSION_UNSUPPORTED".to_owned());
        assert_eq!(answer.refusal(), refused, "{encoding}");
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity", "what is understood is said");
    }
    let plain = connection.call(done(query().header("grpc-encoding", "identity")), asking("")).await;
    assert_eq!(plain.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_and_no_other() {
    let fixture = start().await;
    let good = fixture.connect().await;
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is how TLS begins",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x04\x00\x00\x00\x00\x00\x00garbage after the preface",
        // DATA for the connection itself.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(fixture.address).await.expect("connects");
        stream.write_all(bytes).await.expect("sent");
        let mut told = Vec::new();
        // Closed or reset, with or without a last word.
        let closed = tokio::time::timeout(BOUND, stream.read_to_end(&mut told)).await;
        assert!(closed.is_ok(), "still open after {bytes:?}");
        assert_eq!(good.call(done(query()), asking("")).await.grpc().code(), Code::Ok);
    }
}
