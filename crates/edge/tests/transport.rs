//! The transport through real sockets: TLS on both sides, bounds against rude clients, and calls to peers that come
//! and go.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken fixture ends the test")]

mod transport {
    mod bounds;
    mod certificates;
    mod dialling;
    mod fixture;
    mod greeting;
    mod names;
    mod tls;
}
