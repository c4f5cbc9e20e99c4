//! The contract's messages as JSON: the standard mapping, with the field names of the proto files.

use bulkhead_proto::rules::{DescriptorError, pool};
use prost::Name;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;
use serde_json::value::Serializer;

/// Why a message has no JSON. Only a broken build can cause it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// The embedded descriptors are damaged.
    #[error("the contract's descriptors cannot be read")]
    Descriptors(#[from] DescriptorError),
    /// The descriptors do not know the message.
    #[error("the contract has no message {0}")]
    NoSuchMessage(String),
    /// The message is not what its descriptor says.
    #[error("the message does not fit its descriptor")]
    Mismatch(#[from] prost::DecodeError),
    /// It cannot be written.
    #[error("the message has no JSON form")]
    Write(#[from] serde_json::Error),
}

/// A message as a JSON value: enums by name, times as RFC 3339, fields that hold their default left out.
pub(crate) fn of_message<M: Name>(message: &M) -> Result<Value, JsonError> {
    let name = M::full_name();
    let descriptor = pool()?.get_message_by_name(&name).ok_or(JsonError::NoSuchMessage(name))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    Ok(dynamic.serialize_with_options(Serializer, &options)?)
}
