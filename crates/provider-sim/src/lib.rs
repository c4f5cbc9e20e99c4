//! bulkhead-provider-sim.
