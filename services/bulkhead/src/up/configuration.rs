//! The configuration that a first start writes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Layout, secured};
use crate::serve::Service;

/// The configuration, with `{…}` where a value goes.
const TEMPLATE: &str = include_str!("bulkhead.toml.template");
/// The models that the simulator stands in for, likewise.
const SIMULATED: &str = include_str!("simulated-models.toml.template");
/// What a line begins with that stands before the part of a service.
const RULE: &str = "# -----";

/// How the services find their files.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// Keys, certificates and policy, where the services see them.
    pub(crate) layout: &'a Layout,
    /// The hashed tokens.
    pub(crate) identities: PathBuf,
    /// The folder that agents work in.
    pub(crate) workspace: PathBuf,
    /// `https` where they speak TLS, else `http`.
    pub(crate) scheme: &'static str,
}

/// One service, as itself and as others see it.
#[derive(Debug)]
pub(crate) struct Site {
    /// What it listens on.
    pub(crate) listen: String,
    /// Host and port that others call.
    pub(crate) called: String,
    /// The folder of its store.
    pub(crate) data: PathBuf,
}

/// The configuration of all services.
pub(crate) fn text(
    view: &View<'_>,
    mut site: impl FnMut(Service) -> anyhow::Result<Site>,
) -> anyhow::Result<String> {
    let certificates = view.layout.certificates();
    let mut text = TEMPLATE.to_owned();
    for service in Service::ALL {
        let (name, site) = (service.name(), site(service)?);
        let endpoint = format!("{}://{}", view.scheme, site.called);
        let (of_listener, of_caller) = if view.scheme == "https" {
            (secured::of_listener(&certificates, service)?, secured::of_caller(&certificates, service)?)
        } else {
            Default::default()
        };
        for (place, value) in [
            (format!("{{{name}.listen}}"), quoted(&site.listen)),
            (format!("{{{name}.endpoint}}"), quoted(&endpoint)),
            (format!("{{{name}.edge_tls}}\n"), of_listener),
            (format!("{{{name}.peer_tls}}\n"), of_caller),
            (format!("{{{name}.data}}"), quoted_path(&site.data)?),
            (format!("{{{name}.token}}"), quoted_path(&view.layout.service_token(service))?),
        ] {
            text = text.replace(&place, &value);
        }
    }
    for (place, path) in [
        ("{identities}", &view.identities),
        ("{policy}", &view.layout.policy()),
        ("{grant_key}", &view.layout.grant_key()),
        ("{grant_key_public}", &view.layout.grant_key().with_extension("pub")),
        ("{log_key}", &view.layout.log_key()),
        ("{workspace}", &view.workspace),
    ] {
        text = text.replace(place, &quoted_path(path)?);
    }
    Ok(text)
}

/// What stands at the top of a service's own file.
const HEAD: &str = "\
    # Written by `bulkhead init`; yours to edit from then on. A key behind a `#` shows its default; unknown keys are\n\
    # errors. Keys of `edge` that are not shown here: docs/configuration.md.\n\n";

/// The part of one service in the configuration of all, as a file of its own.
pub(crate) fn part(text: &str, service: Service) -> anyhow::Result<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        match parts.last_mut() {
            Some(part) if !line.starts_with(RULE) => *part += &format!("{line}\n"),
            _ => parts.push(String::new()),
        }
    }
    let begins = format!("[{}]\n", service.name());
    let own = parts.iter().find(|part| part.starts_with(&begins));
    let own = own.with_context(|| format!("the configuration has no part {begins}"))?;
    Ok(format!("{HEAD}{}\n", own.trim_end()))
}

/// A configuration with the three simulated models in place of the router's own.
pub(crate) fn simulated(text: &str, simulator: &str, key: &Path) -> anyhow::Result<toml::Table> {
    let mut file: toml::Table = toml::from_str(text).context("the configuration is not valid TOML")?;
    let router = file.get_mut(Service::ModelRouter.name()).and_then(toml::Value::as_table_mut);
    let router = router.context("the configuration has no table [model-router]")?;
    let models =
        SIMULATED.replace("{simulator}", &quoted(simulator)).replace("{simulated_key}", &quoted_path(key)?);
    let models: toml::Table = toml::from_str(&models).context("the simulated models are not valid")?;
    for key in ["model", "route"] {
        router.remove(key);
    }
    router.extend(models);
    Ok(file)
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path as a TOML string.
pub(super) fn quoted_path(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    Ok(quoted(text))
}
