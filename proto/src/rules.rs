//! What the descriptors say of each RPC: who may call it, whether it may change anything, and how it may fail.

use std::collections::HashMap;

pub use prost_reflect::DescriptorError;
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

use crate::{DESCRIPTORS, PLAIN};

/// Name of the method option that lists roles.
const ACCESS_OPTION: &str = "bulkhead.common.v1.access";

/// Name of the method option that lists reasons of errors.
const ERRORS_OPTION: &str = "bulkhead.common.v1.errors";

/// `NO_SIDE_EFFECTS` of `google.protobuf.MethodOptions.IdempotencyLevel`.
const NO_SIDE_EFFECTS: i32 = 1;

/// The rule of one RPC, read from its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodRule {
    /// Full name of the service, `bulkhead.audit.v1.AuditService`.
    pub service: String,
    /// Name of the RPC, `AppendEvents`.
    pub method: String,
    /// Roles of which a caller needs at least one. Empty: refused to all.
    pub roles: Vec<String>,
    /// Reasons that the service itself may answer with; any other must be one that any RPC may.
    pub reasons: Vec<String>,
    /// True unless the RPC declares `NO_SIDE_EFFECTS`.
    pub mutating: bool,
    /// True when the answer is a stream.
    pub server_streaming: bool,
}

impl MethodRule {
    fn read(method: &MethodDescriptor) -> Self {
        Self {
            service: method.parent_service().full_name().to_owned(),
            method: method.name().to_owned(),
            roles: listed(method, ACCESS_OPTION, "roles"),
            reasons: listed(method, ERRORS_OPTION, "reasons"),
            mutating: !declares_no_side_effects(method),
            server_streaming: method.is_server_streaming(),
        }
    }

    /// The HTTP/2 path of the RPC.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }
}

/// The contract's descriptors, decoded, without the comments.
pub(crate) fn plain() -> Result<DescriptorPool, DescriptorError> {
    DescriptorPool::decode(PLAIN)
}

/// The contract's descriptors, decoded, with the comments.
///
/// # Errors
/// When the embedded bytes are not a descriptor set, which only a broken build can cause.
pub fn pool() -> Result<DescriptorPool, DescriptorError> {
    DescriptorPool::decode(DESCRIPTORS)
}

/// The rule of every RPC by its HTTP/2 path.
///
/// # Errors
/// See [`pool`].
pub fn by_path() -> Result<HashMap<String, MethodRule>, DescriptorError> {
    let rules = plain()?
        .services()
        .flat_map(|service| service.methods().map(|method| MethodRule::read(&method)).collect::<Vec<_>>())
        .map(|rule| (rule.path(), rule))
        .collect();
    Ok(rules)
}

/// The words in one field of an option.
fn listed(method: &MethodDescriptor, option: &str, field: &str) -> Vec<String> {
    let pool = method.parent_pool();
    let Some(option) = pool.get_extension_by_name(option) else { return Vec::new() };
    let options = method.options();
    let value = options.get_extension(&option);
    let Some(message) = value.as_message() else { return Vec::new() };
    let Some(words) = message.get_field_by_name(field) else { return Vec::new() };
    words.as_list().unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn declares_no_side_effects(method: &MethodDescriptor) -> bool {
    let options = method.options();
    let level = options.get_field_by_name("idempotency_level");
    level.and_then(|value| value.as_enum_number()) == Some(NO_SIDE_EFFECTS)
}
