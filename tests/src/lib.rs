//! bulkhead-tests.
