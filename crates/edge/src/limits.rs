//! How many calls a service takes at once.

use std::time::Duration;

use crate::settings::Table;

/// The bounds that the stack holds calls and streams to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Unary calls that run at once.
    pub calls_max: usize,
    /// Unary calls that wait for a place at once; the next ones are refused.
    pub queue_max: usize,
    /// How long a call waits for a place.
    pub queue_timeout: Duration,
    /// Streams that are open at once.
    pub streams_max: usize,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Duration,
}

// Defaults; their reasons stand where they are read.
const CALLS_MAX: usize = 512;
const QUEUE_MAX: usize = 128;
const QUEUE_TIMEOUT_MS: u64 = 500;
const STREAMS_MAX: usize = 1_024;
const STREAM_IDLE_TIMEOUT_MS: u64 = 1_200_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: CALLS_MAX,
            queue_max: QUEUE_MAX,
            queue_timeout: Duration::from_millis(QUEUE_TIMEOUT_MS),
            streams_max: STREAMS_MAX,
            stream_idle_timeout: Duration::from_millis(STREAM_IDLE_TIMEOUT_MS),
        }
    }
}

impl Limits {
    /// Reads a table `limits`.
    pub(crate) fn read(table: &mut Table<'_>) -> Option<Self> {
        Some(Self {
            calls_max: table.number(
                "calls_max",
                1..=100_000,
                CALLS_MAX,
                "Unary calls that run at once. A call holds its message, 8 MiB at most and usually some \
                 kilobytes, and waits for a disk, a model or a person: far more fit than there are processors.",
            ),
            queue_max: table.number(
                "queue_max",
                0..=100_000,
                QUEUE_MAX,
                "Unary calls that wait for a place at once; the next ones are refused. What a quarter of the \
                 places gives back while one waits.",
            ),
            queue_timeout: table.milliseconds(
                "queue_timeout_ms",
                0..=60_000,
                QUEUE_TIMEOUT_MS,
                "How long a call waits for a place. Longer than a burst, shorter than a person's patience; after \
                 it, asking again is better.",
            ),
            streams_max: table.number(
                "streams_max",
                1..=100_000,
                STREAMS_MAX,
                "Streams that are open at once; one tenant has half of them at most. A watcher costs a task and a \
                 buffer, and stays for an hour.",
            ),
            stream_idle_timeout: table.milliseconds(
                "stream_idle_timeout_ms",
                1_000..=86_400_000,
                STREAM_IDLE_TIMEOUT_MS,
                "How long a stream may be silent. Twenty minutes: watchers are silent while nothing happens, and \
                 those whose readers vanished behind a proxy should not stay for the whole age of a stream.",
            ),
        })
    }
}
