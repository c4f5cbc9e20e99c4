//! What every command takes: where, as whom, how long, in which form.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::time;

/// Options that every command which calls a service has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct ClientArguments {
    /// Where the service is: `http://127.0.0.1:7103`. A command that calls two names them:
    /// `model-router=URL,tool-executor=URL`. Default: what the configuration in --data says, or else this
    /// machine and the service's usual port.
    #[arg(long, value_name = "[SERVICE=]URL", env = "BULKHEAD_ENDPOINT", value_delimiter = ',')]
    pub(super) endpoint: Vec<String>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The token itself. Whoever may list processes can read it here: prefer the variable, or --token-file.
    #[arg(long, value_name = "TOKEN", env = "BULKHEAD_TOKEN", hide_env_values = true)]
    pub(super) token: Option<Token>,
    /// The data folder of `bulkhead up`: gives addresses and tokens. Default: ./bulkhead-data, if it is there.
    #[arg(long, value_name = "DIR", env = "BULKHEAD_DATA")]
    pub(super) data: Option<PathBuf>,
    /// Which token of the data folder: agent, approver, operator or auditor. Default: the one that the command
    /// needs.
    #[arg(long = "as", value_name = "NAME")]
    pub(super) holder: Option<String>,
    /// For `https`: the authorities that may have signed the service's certificate, PEM. Default: certs/ca.crt in
    /// the data folder, if it is there.
    #[arg(long, value_name = "FILE", env = "BULKHEAD_CA")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate to show when the service asks for one, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,
    /// The key of --cert, PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// Time for each call, such as 30s or 2m. Streams and waits for people are not bounded by it.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = time::duration)]
    pub(super) timeout: Duration,
    /// Print the contract's own messages as JSON instead of text for people.
    #[arg(long)]
    pub(super) json: bool,
    /// Say which address and token are used.
    #[arg(long, short)]
    pub(super) verbose: bool,
}

/// A bearer token. Its `Debug` shows nothing.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}
