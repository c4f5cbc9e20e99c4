#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bulkhead_model_router::fuzzing::anthropic_request(bytes));
