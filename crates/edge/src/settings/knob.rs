//! What can be configured, as the reader asks for it.

/// A key that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knob {
    /// In full, such as `approval.edge.listen`.
    pub path: String,
    /// What may stand there, with range and unit.
    pub kind: String,
    /// What holds when nothing stands there.
    pub presence: Presence,
    /// What it is for, and the reason of its default.
    pub meaning: &'static str,
    /// As it is now, in TOML, secrets hidden; none when it is not set and has no default.
    pub value: Option<String>,
}

/// Whether a key must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It must.
    Required,
    /// Without it there is none of what it names.
    Optional,
    /// Without it this holds, in TOML.
    Default(String),
}

/// The unit that a key's name ends in: `timeout_ms_max` is in milliseconds.
pub(super) fn unit(key: &str) -> Option<&'static str> {
    let units = [
        ("_ms", "milliseconds"),
        ("_bytes", "bytes"),
        ("_days", "days"),
        ("_tokens", "tokens"),
        ("_events", "events"),
    ];
    let key = key.trim_end_matches("_default").trim_end_matches("_max").trim_end_matches("_min");
    units.into_iter().find_map(|(suffix, unit)| key.ends_with(suffix).then_some(unit))
}
