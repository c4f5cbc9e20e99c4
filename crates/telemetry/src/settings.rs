//! What the environment says about telemetry, read once when a process starts.

/// Spans or log records that may wait for the collector: the default of the OpenTelemetry specification,
/// about 2 MiB of spans.
const QUEUE_LENGTH: usize = 2_048;
/// A queue beyond this is a mistake: memory is better spent elsewhere.
const QUEUE_LENGTH_MAX: usize = 1 << 20;

/// What the environment says about telemetry. `docs/telemetry.md` lists every variable, those included that
/// the OpenTelemetry SDK reads by itself.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where traces, metrics and logs go over OTLP/gRPC. None: nothing is
    /// exported.
    pub otlp_endpoint: Option<String>,
    /// Which signals go there. `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` and `OTEL_LOGS_EXPORTER` set to
    /// `none` leave one out.
    pub exported: Exported,
    /// `BULKHEAD_LOG`: levels by target, in the syntax of `tracing_subscriber::filter::Targets`.
    pub log_filter: Option<String>,
    /// `OTEL_BSP_MAX_QUEUE_SIZE`: spans that may wait; the next one is dropped and counted.
    pub span_queue: usize,
    /// `OTEL_BLRP_MAX_QUEUE_SIZE`: log records that may wait; the next one is dropped and counted.
    pub log_queue: usize,
}

/// The signals that are sent to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Spans.
    pub traces: bool,
    /// Metrics; `/metrics` has them in any case.
    pub metrics: bool,
    /// Log records; standard error has them in any case.
    pub logs: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            exported: Exported { traces: true, metrics: true, logs: true },
            log_filter: None,
            span_queue: QUEUE_LENGTH,
            log_queue: QUEUE_LENGTH,
        }
    }
}

impl TelemetrySettings {
    /// Reads the process environment, once, at its start.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(variable)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let exported = |name| variable(name).as_deref() != Some("none");
        let queue = |name| {
            let wanted = variable(name).and_then(|text| text.parse().ok());
            wanted.map_or(QUEUE_LENGTH, |length: usize| length.clamp(1, QUEUE_LENGTH_MAX))
        };
        Self {
            otlp_endpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
            exported: Exported {
                traces: exported("OTEL_TRACES_EXPORTER"),
                metrics: exported("OTEL_METRICS_EXPORTER"),
                logs: exported("OTEL_LOGS_EXPORTER"),
            },
            log_filter: variable("BULKHEAD_LOG"),
            span_queue: queue("OTEL_BSP_MAX_QUEUE_SIZE"),
            log_queue: queue("OTEL_BLRP_MAX_QUEUE_SIZE"),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads telemetry settings, at process start"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> TelemetrySettings {
        TelemetrySettings::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert_eq!(settings(&[]).otlp_endpoint, None);
        let named = settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")]);
        assert_eq!(named.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4317"));
        assert_eq!(named.exported, Exported { traces: true, metrics: true, logs: true });
    }

    #[test]
    fn one_signal_can_be_left_out() {
        let without = settings(&[("OTEL_LOGS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(without.exported, Exported { traces: true, metrics: true, logs: false });
    }

    #[test]
    fn queues_stay_bounded_whatever_is_asked_for() {
        for (asked, length) in [("64", 64), ("0", 1), ("999999999", QUEUE_LENGTH_MAX), ("many", QUEUE_LENGTH)]
        {
            assert_eq!(settings(&[("OTEL_BSP_MAX_QUEUE_SIZE", asked)]).span_queue, length, "{asked}");
            assert_eq!(settings(&[("OTEL_BLRP_MAX_QUEUE_SIZE", asked)]).log_queue, length, "{asked}");
        }
    }
}
