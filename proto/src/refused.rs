//! Fields that a request may not set yet.
//!
//! Promises that a request which sets a field with the option `refused_for_now`, at any depth, is found before
//! any service sees it: a service that does not know a field would do the rest and say nothing. Reads tags and
//! lengths of the encoded message, no values, and only of messages that can hold such a field.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::rules;

/// Name of the field option.
const OPTION: &str = "bulkhead.common.v1.refused_for_now";
/// Fields named in one error; a request may hold any number.
const NAMED_MAX: usize = 64;

/// What to look for, by the full name of a message; nothing stands here for a message that needs no look.
static GUARDS: LazyLock<HashMap<String, Guard>> = LazyLock::new(guards);

type Guard = HashMap<u32, Field>;

#[derive(Debug, Clone)]
struct Field {
    name: String,
    repeated: bool,
    /// Zero and empty are the same as absent.
    implicit: bool,
    look: Look,
}

#[derive(Debug, Clone)]
enum Look {
    Refuse,
    /// Into a message of this name.
    Inside(String),
}

/// The paths of the refused fields that an encoded message sets, such as `messages[0].content[1].image`.
/// Stops where the bytes are no message; decoding them says so.
pub(crate) fn set_fields(message: &str, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(guard) = GUARDS.get(message) {
        walk(guard, bytes, "", &mut found);
    }
    found
}

fn walk(guard: &Guard, mut bytes: &[u8], parent: &str, found: &mut Vec<String>) -> Option<()> {
    let mut seen: HashMap<u32, usize> = HashMap::new();
    while !bytes.is_empty() && found.len() < NAMED_MAX {
        let key = varint(&mut bytes)?;
        let (number, wire) = (u32::try_from(key >> 3).ok()?, key & 7);
        let (content, is_zero) = value(&mut bytes, wire)?;
        let Some(field) = guard.get(&number) else { continue };
        let place = seen.entry(number).or_default();
        let index = if field.repeated { format!("[{place}]") } else { String::new() };
        *place += 1;
        let path = format!("{parent}{}{index}", field.name);
        match &field.look {
            Look::Refuse if field.implicit && is_zero => {}
            Look::Refuse => found.push(path),
            Look::Inside(name) => walk(GUARDS.get(name)?, content, &format!("{path}."), found)?,
        }
    }
    Some(())
}

/// The bytes of a value, and whether it is zero or empty.
fn value<'a>(bytes: &mut &'a [u8], wire: u64) -> Option<(&'a [u8], bool)> {
    let length = match wire {
        0 => return varint(bytes).map(|number| (&[][..], number == 0)),
        1 => 8,
        2 => usize::try_from(varint(bytes)?).ok()?,
        5 => 4,
        // Groups are not part of proto3.
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let is_zero = if wire == 2 { content.is_empty() } else { content.iter().all(|byte| *byte == 0) };
    Some((content, is_zero))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn guards() -> HashMap<String, Guard> {
    // Descriptors that do not decode end every service at its start; there is nothing to guard then.
    let Ok(pool) = rules::plain() else { return HashMap::new() };
    let mut guards = HashMap::new();
    for message in pool.all_messages().filter(|message| message.full_name().starts_with("bulkhead.")) {
        let guard: Guard =
            message.fields().filter_map(|field| Some((field.number(), look(&field)?))).collect();
        if !guard.is_empty() {
            guards.insert(message.full_name().to_owned(), guard);
        }
    }
    guards
}

fn look(field: &FieldDescriptor) -> Option<Field> {
    let look = match field.kind() {
        _ if is_refused(field) => Look::Refuse,
        Kind::Message(inner) if holds_refused(&inner, &mut HashSet::new()) => {
            Look::Inside(inner.full_name().to_owned())
        }
        _ => return None,
    };
    let repeated = field.cardinality() == Cardinality::Repeated;
    Some(Field { name: field.name().to_owned(), repeated, implicit: !field.supports_presence(), look })
}

fn holds_refused(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| match field.kind() {
            _ if is_refused(&field) => true,
            Kind::Message(inner) => holds_refused(&inner, seen),
            _ => false,
        })
}

/// Whether a field has the option.
#[must_use]
pub fn is_refused(field: &FieldDescriptor) -> bool {
    let pool = field.parent_message().parent_pool();
    let Some(option) = pool.get_extension_by_name(OPTION) else { return false };
    matches!(field.options().get_extension(&option).as_ref(), Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::router::v1 as pb;

    const REQUEST: &str = "bulkhead.router.v1.GenerateRequest";

    fn block(block: pb::content_block::Block) -> pb::ContentBlock {
        pb::ContentBlock { block: Some(block), ..pb::ContentBlock::default() }
    }

    #[test]
    fn every_refused_field_is_named_at_any_depth() {
        use pb::content_block::Block;
        let hello = || block(Block::Text("hello".into()));
        let marked = || pb::ContentBlock { untrusted: true, ..hello() };
        let parts = vec![hello(), marked()];
        let result =
            block(Block::ToolResult(pb::ToolResultBlock { parts, ..pb::ToolResultBlock::default() }));
        let request = pb::GenerateRequest {
            request_id: "1".into(),
            messages: vec![
                pb::Message { role: 1, content: vec![hello(), marked()] },
                pb::Message { role: 2, content: vec![marked(), result] },
            ],
            ..pb::GenerateRequest::default()
        };
        let mut found = set_fields(REQUEST, &request.encode_to_vec());
        found.sort();
        let expected = [
            "messages[0].content[1].untrusted",
            "messages[1].content[0].untrusted",
            "messages[1].content[1].tool_result.parts[1].untrusted",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_service_honours_passes_and_so_does_an_explicit_zero() {
        let request = pb::GenerateRequest {
            request_id: "1".into(),
            messages: vec![pb::Message {
                role: 1,
                content: vec![pb::ContentBlock {
                    cache_breakpoint: true,
                    ..block(pb::content_block::Block::Text("hello".into()))
                }],
            }],
            tools: vec![pb::ToolDefinition::default()],
            temperature: Some(0.5),
            ..pb::GenerateRequest::default()
        };
        assert!(set_fields(REQUEST, &request.encode_to_vec()).is_empty());
        // `messages: { content: { untrusted: false } }`, written out.
        assert!(set_fields(REQUEST, &[4 << 3 | 2, 4, 2 << 3 | 2, 2, 8 << 3, 0]).is_empty());
    }

    #[test]
    fn bytes_that_are_no_message_are_left_to_the_decoder() {
        for bytes in [&[0xff_u8; 20][..], &[0x0a, 0x7f, 0x01], &[0x0b], &[0x22, 0x02, 0x12, 0x7f]] {
            assert!(set_fields(REQUEST, bytes).is_empty());
        }
    }
}
