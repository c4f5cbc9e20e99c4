//! Who is let in, who is not any more, and what is remembered of it: through the wire, against the real stack.
#![expect(clippy::expect_used, reason = "a broken fixture ends the test")]

mod fetching;
mod house;
mod issuer;
mod jwt;
mod limits;
mod revocation;
mod secrecy;
