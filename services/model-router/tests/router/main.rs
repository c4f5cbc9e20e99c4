//! The router through its public contract: the real service, the real simulator, a small audit service.
#![expect(clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod bench;
mod choices;
mod contract;
mod crowd;
mod doors;
mod failing;
mod joining;
mod limits;
mod local;
mod media;
mod money;
mod openai;
mod recorded;
mod reload;
mod repairs;
mod sharing;
mod slots;
mod streams;
mod thinking;
