//! One `[[model-router.model]]`.

use bulkhead_edge::Secret;
use bulkhead_edge::settings::Table;
use reqwest::Url;

use super::{Allowance, ModelConfig, Terms, name};
use crate::network::LocalNetworks;
use crate::provider::{ADAPTERS, Abilities, Adapter};
use crate::upstream::{Target, literal};

impl ModelConfig {
    /// Reads a model; `seen` are the names of the models before it.
    pub(super) fn read(
        table: &mut Table<'_>,
        networks: &LocalNetworks,
        seen: &mut Vec<String>,
    ) -> Option<Self> {
        let name = name(table, seen, "What routes and answers call the model; unique.");
        let adapter =
            table.choice("provider", ADAPTERS.map(|adapter| (adapter.name, adapter)), "Its wire format.");
        let local = table
            .required("local", "It may see sensitive requests. Its address is checked at every connect.");
        // Secret until it is known to hold no password.
        let base_url =
            table.required::<Secret>("base_url", "Where it is: what the provider's path is appended to.");
        let provider_model =
            table.required::<String>("provider_model", "The provider's own name of the model.");
        let key =
            table.secret(["api_key_file", "api_key_env"], "File, or environment variable, with its API key.");
        let plain_http = table.or(
            "plain_http",
            false,
            "Allows http to a cloud model outside this machine: prompts and keys travel in clear.",
        );
        let max_output_tokens_default = table.number(
            "max_output_tokens_default",
            1..=1_000_000,
            4_096,
            "For requests that name no limit. Room for a long answer, within the limits of all current models.",
        );
        let connect_timeout = table.milliseconds(
            "connect_timeout_ms",
            1..=60_000,
            2_000,
            "How long a connection may take. Two seconds: a host that does not answer by then is down or far too busy.",
        );
        let request_timeout = table.milliseconds(
            "request_timeout_ms",
            1..=600_000,
            120_000,
            "How long one attempt may take; never more than the caller's time allows. Two minutes: long answers without \
             streaming take that long.",
        );
        let first_token_timeout = table.milliseconds(
            "first_token_timeout_ms",
            1..=600_000,
            30_000,
            "How long a stream may take until its first token, thinking included; keep-alives do not count. Half a \
             minute: long prompts take that long. More for a model that thinks without showing it or is loaded first.",
        );
        let idle_timeout = table.milliseconds(
            "idle_timeout_ms",
            1..=600_000,
            30_000,
            "How long a stream may send nothing once it has begun; keep-alives count. Half a minute: providers that \
             hold arguments of tools back send a keep-alive sooner.",
        );
        let attempts_max =
            table.number("attempts_max", 1..=10, 3, "Attempts of one request. The first, and two retries.");
        let abilities = Abilities::read(table, adapter);
        let terms = Terms::read(table);
        let weight = table.number("weight", 1..=1_000, 1, "Its share of the requests of a tier. All alike.");
        let allowance = Allowance::read(table);
        check_key(table, adapter);
        if provider_model.as_ref().is_some_and(String::is_empty) {
            table.mistake("provider_model", "must be the provider's name for the model");
        }
        let place = Place { local: local?, plain_http, networks };
        let base_url = base_url.and_then(|text| place.url(table, &text));
        let (adapter, base_url) = (adapter?, base_url?);
        let target = Target {
            adapter,
            endpoint: adapter.endpoint(&base_url),
            base_url,
            provider_model: provider_model?,
            key,
            abilities,
            max_output_tokens_default,
            connect_timeout,
            first_token_timeout,
            idle_timeout,
        };
        Some(Self {
            name: name?,
            local: place.local,
            target,
            request_timeout,
            weight,
            attempts_max,
            terms,
            allowance,
        })
    }
}

fn check_key(table: &mut Table<'_>, adapter: Option<&'static Adapter>) {
    let named = table.has("api_key_file") || table.has("api_key_env");
    if adapter.is_some_and(|adapter| adapter.needs_key) && !named {
        table.mistake("api_key_file", "this provider needs api_key_file or api_key_env");
    }
}

/// What decides where a model may be.
struct Place<'n> {
    local: bool,
    plain_http: bool,
    networks: &'n LocalNetworks,
}

impl Place<'_> {
    fn url(&self, table: &mut Table<'_>, text: &Secret) -> Option<Url> {
        let Some(url) = text.reveal().parse().ok().filter(is_base) else {
            // The text is not repeated: it may hold a password.
            let right = "must be http:// or https:// with a host, without user, query and fragment";
            table.mistake("base_url", right);
            return None;
        };
        let address = literal(&url);
        let is_local = address.is_some_and(|address| self.networks.contains(address));
        if let Some(address) = address
            && self.local
            && !is_local
        {
            let right = "is not local; add its network to local_networks";
            table.mistake("base_url", format!("{address} {right}"));
        }
        let stays = is_local
            || address.is_some_and(|address| address.is_loopback())
            || url.host_str() == Some("localhost");
        let travels = !self.local && !stays;
        if url.scheme() == "http" && travels && !self.plain_http {
            let right = "must be https, or prompts and keys travel in clear; plain_http = true allows it";
            table.mistake("base_url", right);
        }
        Some(url)
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
