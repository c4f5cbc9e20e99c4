//! Configuration: one TOML file, one table a service. Of the shape (unknown keys, wrong types) the first mistake
//! is reported, of the values all at once.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::identity::jwt::{JwtInput, JwtSettings};

/// The tables that a configuration file may hold. A file may configure one service or all of them.
const TABLES: [&str; 4] = ["model-router", "tool-executor", "approval", "audit"];

/// One service's table of a configuration file, not yet understood.
#[derive(Debug, Clone)]
pub struct Settings {
    table: toml::Table,
    service: &'static str,
    path: PathBuf,
}

/// Everything that is wrong with a configuration, each with its key and what would be right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `key` is wrong; `problem` names the value and what would be right.
    pub fn add(&mut self, key: &str, problem: impl fmt::Display) {
        self.0.push(format!("{key}: {problem}"));
    }

    /// Ends a conversion.
    ///
    /// # Errors
    /// The mistakes, when there are any.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the configuration has {} mistake(s):", self.0.len())?;
        self.0.iter().try_for_each(|mistake| write!(formatter, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl Settings {
    /// Reads the table of `service` from a file.
    ///
    /// # Errors
    /// [`Mistakes`] when the file cannot be read, is not TOML, has tables that nobody knows, or lacks the
    /// one that is wanted.
    pub fn load(path: &Path, service: &'static str) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new();
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| one(&name, format!("cannot be read: {error}")))?;
        let mut file: toml::Table =
            toml::from_str(&text).map_err(|error| one(&name, located(&error, &text)))?;
        for key in file.keys().filter(|key| !TABLES.contains(&key.as_str())) {
            mistakes.add(key, format!("is no table that Bulkhead knows; there are {}", TABLES.join(", ")));
        }
        let table = match file.remove(service) {
            Some(toml::Value::Table(table)) => Some(table),
            _ => {
                mistakes.add(service, format!("the table [{service}] is missing from {name}"));
                None
            }
        };
        let path = path.to_owned();
        mistakes.finish(table.map(|table| Self { table, service, path }))
    }

    /// Reads the table as `T`, whose serde shape denies unknown fields.
    ///
    /// # Errors
    /// [`Mistakes`] with the key and what was expected there.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Mistakes> {
        let Self { table, service, path } = self;
        let key = format!("[{service}] in {}", path.display());
        toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| one(&key, error.message()))
    }
}

/// Where a file is no TOML, and why. The line itself is not shown: it may hold a secret.
fn located(error: &toml::de::Error, text: &str) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.get(..start).unwrap_or(text).lines().count().max(1);
    format!("line {line}: {}", error.message())
}

fn one(key: &str, problem: impl fmt::Display) -> Mistakes {
    let mut mistakes = Mistakes::new();
    mistakes.add(key, problem);
    mistakes
}

/// How a service meets its callers.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The file with the hashed tokens.
    pub tokens: PathBuf,
    /// For unary calls that name no timeout.
    pub unary_timeout: Duration,
    /// A longer wish is cut to this.
    pub unary_timeout_max: Duration,
    /// Age limit of streams.
    pub stream_timeout: Duration,
    /// How long open calls may take once a stop was asked for.
    pub drain_timeout: Duration,
    /// Whether reflection is served.
    pub reflection: bool,
    /// Whose JSON Web Tokens are taken; none: nobody's.
    pub jwt: Option<JwtSettings>,
}

impl EdgeSettings {
    /// A free port on loopback, and every default.
    #[must_use]
    pub fn loopback(tokens: PathBuf) -> Self {
        Self {
            listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            tokens,
            unary_timeout: Duration::from_millis(defaults::unary_timeout_ms()),
            unary_timeout_max: Duration::from_millis(defaults::unary_timeout_ms_max()),
            stream_timeout: Duration::from_millis(defaults::stream_timeout_ms()),
            drain_timeout: Duration::from_millis(defaults::drain_timeout_ms()),
            reflection: defaults::reflection(),
            jwt: None,
        }
    }
}

/// The serde shape of [`EdgeSettings`]; a service flattens it into no other table but its `edge`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeInput {
    listen: SocketAddr,
    tokens: PathBuf,
    #[serde(default = "defaults::unary_timeout_ms")]
    unary_timeout_ms: u64,
    #[serde(default = "defaults::unary_timeout_ms_max")]
    unary_timeout_ms_max: u64,
    #[serde(default = "defaults::stream_timeout_ms")]
    stream_timeout_ms: u64,
    #[serde(default = "defaults::drain_timeout_ms")]
    drain_timeout_ms: u64,
    #[serde(default = "defaults::reflection")]
    reflection: bool,
    jwt: Option<JwtInput>,
}

mod defaults {
    /// Half a minute: longer than any store or peer needs, short enough for a person to wait.
    pub(super) fn unary_timeout_ms() -> u64 {
        30_000
    }

    /// Ten minutes: a slow model, or somebody waiting for an approval.
    pub(super) fn unary_timeout_ms_max() -> u64 {
        600_000
    }

    /// An hour; watchers call again from their cursor.
    pub(super) fn stream_timeout_ms() -> u64 {
        3_600_000
    }

    /// Ten seconds, below the grace that container engines give before they kill.
    pub(super) fn drain_timeout_ms() -> u64 {
        10_000
    }

    pub(super) fn reflection() -> bool {
        true
    }
}

impl EdgeInput {
    /// Checks the ranges.
    pub fn check(self, mistakes: &mut Mistakes) -> EdgeSettings {
        let bounded = [
            ("edge.unary_timeout_ms", self.unary_timeout_ms, self.unary_timeout_ms_max),
            ("edge.unary_timeout_ms_max", self.unary_timeout_ms_max, 3_600_000),
            ("edge.stream_timeout_ms", self.stream_timeout_ms, 86_400_000),
            ("edge.drain_timeout_ms", self.drain_timeout_ms, 300_000),
        ];
        for (key, value, max) in bounded {
            if !(1..=max).contains(&value) {
                mistakes.add(key, format!("{value} must be 1 to {max} (milliseconds)"));
            }
        }
        EdgeSettings {
            listen: self.listen,
            tokens: self.tokens,
            unary_timeout: Duration::from_millis(self.unary_timeout_ms),
            unary_timeout_max: Duration::from_millis(self.unary_timeout_ms_max),
            stream_timeout: Duration::from_millis(self.stream_timeout_ms),
            drain_timeout: Duration::from_millis(self.drain_timeout_ms),
            reflection: self.reflection,
            jwt: self.jwt.and_then(|jwt| jwt.check(mistakes)),
        }
    }
}

/// The serde shape of [`PeerSettings`](crate::PeerSettings).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerInput {
    endpoint: String,
    token_file: PathBuf,
}

impl From<PeerInput> for crate::PeerSettings {
    fn from(input: PeerInput) -> Self {
        Self { endpoint: input.endpoint, token_file: input.token_file }
    }
}
