//! Writes one value.

use serde::Serialize;
use serde::ser::{Impossible, Serializer};

use super::compound::{Array, Object};
use super::{NotPlain, Page};
use crate::INTEGER_MAGNITUDE_MAX;

/// What begins the names of types that serde_json writes in ways of its own, such as text that is JSON already.
const OWN_WAYS: &str = "$serde_json::";

/// Where the value goes, and how many arrays and objects may be opened inside one another for it.
pub(super) struct Writer<'a> {
    pub(super) page: &'a mut Page,
    pub(super) levels_left: usize,
}

impl<'a> Writer<'a> {
    /// For the next of several values.
    pub(super) fn again(&mut self) -> Writer<'_> {
        Writer { page: self.page, levels_left: self.levels_left }
    }

    fn put(self, text: &str) -> Result<(), NotPlain> {
        self.page.text.push_str(text);
        Ok(())
    }

    fn whole<N: itoa::Integer>(self, number: N, magnitude: u64) -> Result<(), NotPlain> {
        if magnitude > INTEGER_MAGNITUDE_MAX {
            return Err(NotPlain);
        }
        self.put(itoa::Buffer::new().format(number))
    }

    fn array(self) -> Result<Array<'a>, NotPlain> {
        Ok(Array::begin(self.inner()?))
    }

    fn object(self) -> Result<Object<'a>, NotPlain> {
        Ok(Object::begin(self.inner()?))
    }

    fn inner(self) -> Result<Self, NotPlain> {
        let levels_left = self.levels_left.checked_sub(1).ok_or(NotPlain)?;
        Ok(Writer { levels_left, ..self })
    }
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = Array<'a>;
    type SerializeTuple = Array<'a>;
    type SerializeTupleStruct = Array<'a>;
    type SerializeTupleVariant = Impossible<(), NotPlain>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Impossible<(), NotPlain>;

    fn serialize_str(self, string: &str) -> Result<(), NotPlain> {
        // What has to be escaped is left to who knows how.
        if string.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            let quoted = serde_json::to_string(string).map_err(|_error| NotPlain)?;
            return self.put(&quoted);
        }
        let text = &mut self.page.text;
        text.push('"');
        text.push_str(string);
        text.push('"');
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), NotPlain> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bool(self, value: bool) -> Result<(), NotPlain> {
        self.put(if value { "true" } else { "false" })
    }

    fn serialize_u64(self, value: u64) -> Result<(), NotPlain> {
        self.whole(value, value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), NotPlain> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), NotPlain> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), NotPlain> {
        self.serialize_u64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), NotPlain> {
        self.whole(value, value.unsigned_abs())
    }

    fn serialize_i8(self, value: i8) -> Result<(), NotPlain> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), NotPlain> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), NotPlain> {
        self.serialize_i64(value.into())
    }

    fn serialize_f32(self, _value: f32) -> Result<(), NotPlain> {
        Err(NotPlain)
    }

    fn serialize_f64(self, _value: f64) -> Result<(), NotPlain> {
        Err(NotPlain)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), NotPlain> {
        Err(NotPlain)
    }

    fn serialize_none(self) -> Result<(), NotPlain> {
        self.put("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotPlain> {
        self.put("null")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), NotPlain> {
        self.put("null")
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), NotPlain> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), NotPlain> {
        Err(NotPlain)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Array<'a>, NotPlain> {
        self.array()
    }

    fn serialize_tuple(self, _length: usize) -> Result<Array<'a>, NotPlain> {
        self.array()
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Array<'a>, NotPlain> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), NotPlain>, NotPlain> {
        Err(NotPlain)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Object<'a>, NotPlain> {
        self.object()
    }

    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<Object<'a>, NotPlain> {
        if name.starts_with(OWN_WAYS) { Err(NotPlain) } else { self.object() }
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), NotPlain>, NotPlain> {
        Err(NotPlain)
    }
}
