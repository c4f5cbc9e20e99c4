//! What goes over the wire, as clients see it that are not tonic: bytes made by hand, on a real port, behind the
//! real stack.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken fixture ends the test")]

mod wire {
    mod answers;
    mod cancelling;
    mod fixture;
    mod frames;
    mod hops;
    mod raw;
    mod shedding;
    mod streams;
}
