//! Delivery against an audit service that goes away, loses answers and comes back.
#![expect(clippy::expect_used, reason = "a broken fixture ends the test")]

mod files;
mod fixture;
mod table;
