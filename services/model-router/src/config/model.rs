//! One `[[model-router.model]]`, checked.

use std::path::Path;
use std::time::Duration;

use bulkhead_edge::Mistakes;
use reqwest::Url;

use super::ModelConfig;
use super::input::{ModelInput, check_range};
use crate::network::LocalNetworks;
use crate::provider::{self, ADAPTERS, Adapter};
use crate::secret::Secret;
use crate::upstream::{Target, literal};

/// Key and mistakes of one model, so that each message names it.
struct Check<'m> {
    input: &'m ModelInput,
    mistakes: &'m mut Mistakes,
}

impl ModelInput {
    /// None when a mistake leaves nothing to go on with.
    pub(super) fn check(self, networks: &LocalNetworks, mistakes: &mut Mistakes) -> Option<ModelConfig> {
        let mut check = Check { input: &self, mistakes };
        check.ranges();
        let adapter = check.adapter();
        let base_url = check.url(networks);
        let key = check.key();
        if adapter.is_some_and(|adapter| adapter.needs_key) && check.has_no_key() {
            check.mistake("api_key_file", "this provider needs api_key_file or api_key_env".to_owned());
        }
        if self.provider_model.is_empty() {
            check.mistake("provider_model", "must be the provider's name for the model".to_owned());
        }
        let target = Target {
            adapter: adapter?,
            base_url: base_url?,
            provider_model: self.provider_model,
            key,
            max_output_tokens_default: self.max_output_tokens_default,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
        };
        Some(ModelConfig {
            name: self.name,
            local: self.local,
            target,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            attempts_max: self.attempts_max,
        })
    }
}

impl Check<'_> {
    fn mistake(&mut self, key: &str, problem: String) {
        self.mistakes.add(&format!("model.{}.{key}", self.input.name), problem);
    }

    fn ranges(&mut self) {
        let bounded = [
            ("max_output_tokens_default", self.input.max_output_tokens_default.into(), 1_000_000),
            ("connect_timeout_ms", self.input.connect_timeout_ms, 60_000),
            ("request_timeout_ms", self.input.request_timeout_ms, 600_000),
            ("attempts_max", self.input.attempts_max.into(), 10),
        ];
        for (key, value, max) in bounded {
            check_range(&format!("model.{}.{key}", self.input.name), value, 1, max, self.mistakes);
        }
    }

    fn adapter(&mut self) -> Option<&'static Adapter> {
        let found = provider::named(&self.input.provider);
        if found.is_none() {
            let known = ADAPTERS.map(|adapter| adapter.name).join(", ");
            self.mistake("provider", format!("{:?} must be one of {known}", self.input.provider));
        }
        found
    }

    fn url(&mut self, networks: &LocalNetworks) -> Option<Url> {
        let parsed = self.input.base_url.reveal().parse().ok();
        let Some(url) = parsed.filter(is_base) else {
            // The text is not repeated: it may hold a password.
            let problem = "must be http:// or https:// with a host, without user, query and fragment";
            self.mistake("base_url", problem.to_owned());
            return None;
        };
        let address = literal(&url);
        let is_local = address.is_some_and(|address| networks.contains(address));
        if let Some(address) = address
            && self.input.local
            && !is_local
        {
            self.mistake("base_url", format!("{address} is not local; add its network to local_networks"));
        }
        let stays = is_local
            || address.is_some_and(|address| address.is_loopback())
            || url.host_str() == Some("localhost");
        let travels = !self.input.local && !stays;
        if url.scheme() == "http" && travels && !self.input.plain_http {
            let problem = "must be https, or prompts and keys travel in clear; plain_http = true allows it";
            self.mistake("base_url", problem.to_owned());
        }
        Some(url)
    }

    fn has_no_key(&self) -> bool {
        self.input.api_key_file.is_none() && self.input.api_key_env.is_none()
    }

    fn key(&mut self) -> Option<Secret> {
        let (key, read) = match (&self.input.api_key_file, &self.input.api_key_env) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                ("api_key_file", Err("give api_key_file or api_key_env, not both".to_owned()))
            }
            (Some(path), None) => ("api_key_file", from_file(path)),
            (None, Some(name)) => ("api_key_env", from_env(name)),
        };
        match read.and_then(usable) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                self.mistake(key, problem);
                None
            }
        }
    }
}

fn is_base(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn from_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads keys from the environment, at start")]
fn from_env(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("the variable {name}: {error}"))
}

/// A key without the white space around it; it must fit into a header.
fn usable(text: String) -> Result<Secret, String> {
    let key = text.trim();
    let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(Secret::new(key))
    } else {
        Err("must hold one key of printable ASCII and nothing else".to_owned())
    }
}
