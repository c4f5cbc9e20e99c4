//! What every process shows of itself, under the names that Prometheus client libraries use.

use std::fs;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// A value that cannot be read is left out of that observation.
pub(super) fn observe(meter: &Meter) {
    let _registered = meter
        .u64_observable_gauge("process.resident_memory")
        .with_unit("By")
        .with_description("Resident memory of the process.")
        .with_callback(|observer| {
            if let Some(bytes) = resident_memory_bytes() {
                observer.observe(bytes, &[]);
            }
        })
        .build();
    let _registered = meter
        .u64_observable_gauge("process.open_fds")
        .with_description("Open file descriptors of the process.")
        .with_callback(|observer| {
            if let Some(count) = open_file_descriptors() {
                observer.observe(count, &[]);
            }
        })
        .build();
    let started = unix_time_seconds();
    let _registered = meter
        .f64_observable_gauge("process.start_time")
        .with_unit("s")
        .with_description("When the process started, in seconds since 1970.")
        .with_callback(move |observer| observer.observe(started, &[]))
        .build();
    let _registered = meter
        .u64_observable_gauge("bulkhead.build_info")
        .with_description("Always 1; its attribute is the version.")
        .with_callback(|observer| {
            observer.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        })
        .build();
}

fn resident_memory_bytes() -> Option<u64> {
    parse_resident_memory(&fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS: 12345 kB` of proc_pid_status(5).
fn parse_resident_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// Less the one that lists them.
fn open_file_descriptors() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

#[expect(clippy::disallowed_methods, reason = "decides nothing: it says when the process started")]
fn unix_time_seconds() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse_resident_memory("VmHWM:\t   900 kB\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(parse_resident_memory("VmHWM:\t   900 kB\n"), None);
    }
}
