//! Every way in which a valid message can be made wrong, one field at a time, from the descriptors alone.

use bulkhead_proto::refused;
use bulkhead_tests::probe::settle;
use prost_reflect::prost::Message as _;
use prost_reflect::prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

use crate::values::{self, Change};

/// One wrong message.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// Path of the field that is wrong: `events[0].principal.kind`; empty: the message itself.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) what: &'static str,
    /// Whether the bytes are no message at all.
    pub(crate) undecodable: bool,
    /// The encoded message.
    pub(crate) bytes: Vec<u8>,
}

/// Elements in a list that is far too long.
const MANY: usize = 100_000;

/// How many elements of a list are made wrong in turn: enough to have every kind of a oneof.
const ELEMENTS_MAX: usize = 3;

/// All mutants of a message.
pub(crate) fn of(message: &DynamicMessage) -> Vec<Mutant> {
    wanted(message, &|_, _| true)
}

/// The mutant that differs from this message as `like` does from another.
pub(crate) fn like(like: &Mutant, message: &DynamicMessage) -> Option<Mutant> {
    wanted(message, &|field, what| field == like.field && what == like.what).pop()
}

fn wanted(message: &DynamicMessage, wanted: &dyn Fn(&str, &str) -> bool) -> Vec<Mutant> {
    let mut mutants = Mutants { wanted, found: Vec::new() };
    walk(message, "", &|bytes| bytes, &mut mutants);
    let whole = message.encode_to_vec();
    if let Some((_, cut)) = whole.split_last() {
        mutants.broken("", "cut short", || cut.to_vec());
    }
    mutants.found
}

/// Collects those that are wanted, and makes no others: some are large.
struct Mutants<'a> {
    wanted: &'a dyn Fn(&str, &str) -> bool,
    found: Vec<Mutant>,
}

impl Mutants<'_> {
    /// A message, whatever it means.
    fn add(&mut self, field: &str, what: &'static str, bytes: impl FnOnce() -> Vec<u8>) {
        if (self.wanted)(field, what) {
            self.found.push(Mutant { field: field.to_owned(), what, undecodable: false, bytes: bytes() });
        }
    }

    /// Bytes that are no message.
    fn broken(&mut self, field: &str, what: &'static str, bytes: impl FnOnce() -> Vec<u8>) {
        if (self.wanted)(field, what) {
            self.found.push(Mutant { field: field.to_owned(), what, undecodable: true, bytes: bytes() });
        }
    }
}

/// Mutates each field of a message; `wrap` makes the whole of what this part has become.
fn walk(message: &DynamicMessage, path: &str, wrap: &dyn Fn(Vec<u8>) -> Vec<u8>, mutants: &mut Mutants<'_>) {
    mutants.add(path, "a field that nobody knows", || wrap(append(message, &unknown())));
    for field in message.descriptor().fields() {
        // Refused before anything is read of it; a test of its own sets each of them.
        if refused::is_refused(&field) {
            continue;
        }
        let place = join(path, field.name());
        if field.containing_oneof().is_some_and(|oneof| !is_optional(&oneof)) && !message.has_field(&field) {
            mutants.add(&place, "another of the oneof as well", || wrap(append(message, &empty(&field))));
            continue;
        }
        if field.is_list() {
            list(message, &field, &place, wrap, mutants);
        } else {
            single(message, &field, &place, wrap, mutants);
        }
    }
}

/// A field that holds one value, or none.
fn single(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    place: &str,
    wrap: &dyn Fn(Vec<u8>) -> Vec<u8>,
    mutants: &mut Mutants<'_>,
) {
    let changed = |change: &Change| {
        let mut message = message.clone();
        match change {
            Change::Clear => message.clear_field(field),
            Change::Set(value) => message.set_field(field, value.clone()),
        }
        if field.name() == "plan_json" {
            settle(&mut message);
        }
        message.encode_to_vec()
    };
    for (what, change) in values::of(field) {
        mutants.add(place, what, || wrap(changed(&change)));
    }
    for (what, bytes) in wire(field) {
        mutants.broken(place, what, || wrap(append(message, &bytes)));
    }
    if let Kind::Message(_) = field.kind() {
        let inner = message.get_field(field);
        let Value::Message(inner) = inner.as_ref() else { return };
        let mut rest = message.clone();
        rest.clear_field(field);
        walk(inner, place, &|bytes| wrap(append(&rest, &delimited(field, &bytes))), mutants);
    }
}

fn list(
    message: &DynamicMessage,
    field: &FieldDescriptor,
    place: &str,
    wrap: &dyn Fn(Vec<u8>) -> Vec<u8>,
    mutants: &mut Mutants<'_>,
) {
    let whole = |elements: Vec<Value>| {
        let mut message = message.clone();
        message.set_field(field, Value::List(elements));
        message.encode_to_vec()
    };
    let held = message.get_field(field);
    let elements = held.as_list().unwrap_or_default();
    mutants.add(place, "no elements", || wrap(whole(Vec::new())));
    let first = elements.first().cloned().unwrap_or_else(|| Value::default_value(&field.kind()));
    mutants.add(place, "100,000 elements", || wrap(whole(vec![first.clone(); MANY])));
    let blank = || vec![Value::default_value(&field.kind()); 40];
    mutants.add(place, "40 blank elements", || wrap(whole(blank())));
    mutants.add(place, "every element twice", || wrap(whole([elements, elements].concat())));
    for (what, bytes) in wire(field) {
        mutants.broken(place, what, || wrap(append(message, &bytes)));
    }
    for (at, element) in elements.iter().take(ELEMENTS_MAX).enumerate() {
        let place = format!("{place}[{at}]");
        if let Value::Message(inner) = element {
            let around = |bytes: Vec<u8>| {
                let mut body = whole(elements[..at].to_vec());
                body.extend(delimited(field, &bytes));
                let mut rest = DynamicMessage::new(message.descriptor());
                rest.set_field(field, Value::List(elements[at + 1..].to_vec()));
                body.extend(rest.encode_to_vec());
                wrap(body)
            };
            walk(inner, &place, &around, mutants);
        } else {
            for (what, change) in values::of(field) {
                let Change::Set(value) = change else { continue };
                let mut elements = elements.to_vec();
                elements[at] = value;
                mutants.add(&place, what, || wrap(whole(elements)));
            }
        }
    }
}

/// Bytes that no value of the field has.
fn wire(field: &FieldDescriptor) -> Vec<(&'static str, Vec<u8>)> {
    let number = field.number();
    let other = match field.kind() {
        Kind::String | Kind::Bytes | Kind::Message(_) => key(number, WireType::Varint, &[1]),
        _ => key(number, WireType::SixtyFourBit, &[0; 8]),
    };
    let mut wrong = vec![("another wire type", other)];
    match field.kind() {
        Kind::String => {
            wrong
                .push(("bytes that are not UTF-8", key(number, WireType::LengthDelimited, &[2, 0xc3, 0x28])));
        }
        Kind::Message(_) => {
            wrong.push(("a length beyond the end", key(number, WireType::LengthDelimited, &[100, 0])));
        }
        _ => {}
    }
    if matches!(field.kind(), Kind::Uint32 | Kind::Int32 | Kind::Uint64 | Kind::Int64 | Kind::Enum(_)) {
        wrong.push(("a number of eleven bytes", key(number, WireType::Varint, &[0xff; 11])));
    }
    wrong
}

/// A field of another version of the contract.
fn unknown() -> Vec<u8> {
    key(4_000, WireType::LengthDelimited, &[3, b'n', b'e', b'w'])
}

/// The field's default value, present.
fn empty(field: &FieldDescriptor) -> Vec<u8> {
    match field.kind() {
        Kind::String | Kind::Bytes | Kind::Message(_) => delimited(field, &[]),
        _ => key(field.number(), WireType::Varint, &[0]),
    }
}

fn delimited(field: &FieldDescriptor, bytes: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    encode_varint(u64::try_from(bytes.len()).expect("fits"), &mut length);
    length.extend_from_slice(bytes);
    key(field.number(), WireType::LengthDelimited, &length)
}

fn key(number: u32, wire: WireType, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, wire, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn append(message: &DynamicMessage, bytes: &[u8]) -> Vec<u8> {
    [message.encode_to_vec().as_slice(), bytes].concat()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What `optional` makes of a field in the descriptor: a oneof of one, whose name begins with `_`.
fn is_optional(oneof: &prost_reflect::OneofDescriptor) -> bool {
    oneof.name().starts_with('_')
}
