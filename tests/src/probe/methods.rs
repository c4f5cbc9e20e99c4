//! Every RPC that the four services serve, from the descriptors.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bulkhead_proto::rules::{self, MethodRule};
use prost_reflect::MessageDescriptor;

/// What this build does not implement, one RPC a line.
const UNIMPLEMENTED: &str = include_str!("../../unimplemented.txt");

/// Implemented by users' own servers.
const ELSEWHERE: &str = "bulkhead.tools.v1.ToolProviderService";

/// One RPC.
#[derive(Debug, Clone)]
pub struct Method {
    /// Who may call it and whether it changes anything.
    pub rule: MethodRule,
    /// What it takes.
    pub input: MessageDescriptor,
    /// What it answers.
    pub output: MessageDescriptor,
}

impl Method {
    /// The name of its service's process.
    #[must_use]
    pub fn process(&self) -> &'static str {
        match self.rule.service.as_str() {
            service if service.starts_with("bulkhead.router.") => "model-router",
            service if service.starts_with("bulkhead.tools.") => "tool-executor",
            service if service.starts_with("bulkhead.approval.") => "approval",
            _ => "audit",
        }
    }

    /// `bulkhead.audit.v1.AuditService/AppendEvents`.
    #[must_use]
    pub fn path(&self) -> String {
        self.rule.path().trim_start_matches('/').to_owned()
    }
}

/// Every RPC of the four services, sorted.
///
/// # Errors
/// When the built-in contract is broken.
pub fn methods() -> anyhow::Result<Vec<Method>> {
    let pool = rules::pool()?;
    let mut methods = Vec::new();
    for rule in rules::by_path()?.into_values().filter(|rule| rule.service != ELSEWHERE) {
        let service = pool.get_service_by_name(&rule.service).context("a rule without a service")?;
        let found = service.methods().find(|method| method.name() == rule.method);
        let method = found.context("a rule without a method")?;
        methods.push(Method { rule, input: method.input(), output: method.output() });
    }
    methods.sort_by_key(Method::path);
    Ok(methods)
}

/// Those that answer more than UNIMPLEMENTED.
///
/// # Errors
/// When the built-in contract is broken.
pub fn implemented() -> anyhow::Result<Vec<Method>> {
    let missing: BTreeSet<&str> = UNIMPLEMENTED.lines().collect();
    Ok(methods()?.into_iter().filter(|method| !missing.contains(method.path().as_str())).collect())
}
