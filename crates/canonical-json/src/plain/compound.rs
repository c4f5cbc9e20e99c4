//! Writes arrays and objects.

use std::ops::Range;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct};

use super::writer::Writer;
use super::{NotPlain, Page};

/// An array that is open.
pub(super) struct Array<'a> {
    writer: Writer<'a>,
    is_empty: bool,
}

impl<'a> Array<'a> {
    pub(super) fn begin(writer: Writer<'a>) -> Self {
        writer.page.text.push('[');
        Self { writer, is_empty: true }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotPlain> {
        if !self.is_empty {
            self.writer.page.text.push(',');
        }
        self.is_empty = false;
        item.serialize(self.writer.again())
    }

    fn finish(self) {
        self.writer.page.text.push(']');
    }
}

/// An object that is open.
pub(super) struct Object<'a> {
    writer: Writer<'a>,
    /// The first of its entries.
    first: usize,
    /// Each key so far comes after the one before it.
    is_in_order: bool,
}

/// Where the key of an entry stands, without its quotation marks.
pub(super) struct Entry(Range<usize>);

impl Entry {
    fn key<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.0.clone()).unwrap_or_default()
    }

    fn start(&self) -> usize {
        self.0.start - 1
    }
}

impl<'a> Object<'a> {
    pub(super) fn begin(writer: Writer<'a>) -> Self {
        writer.page.text.push('{');
        let first = writer.page.entries.len();
        Self { writer, first, is_in_order: true }
    }

    /// Takes only a key that is written as a string, of ASCII, and without anything that has to be escaped.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotPlain> {
        let before = self.writer.page.entries.len();
        if before > self.first {
            self.writer.page.text.push(',');
        }
        let start = self.writer.page.text.len();
        key.serialize(self.writer.again())?;
        let Page { text, entries } = &mut *self.writer.page;
        let key = text.get(start..).and_then(|key| key.strip_prefix('"')?.strip_suffix('"'));
        let key = key.filter(|key| key.bytes().all(|byte| byte.is_ascii() && byte != b'\\'));
        let key = key.ok_or(NotPlain)?;
        if before > self.first {
            self.is_in_order &= entries.last().is_some_and(|last| last.key(text) < key);
        }
        entries.push(Entry(start + 1..text.len() - 1));
        text.push(':');
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotPlain> {
        value.serialize(self.writer.again())
    }

    fn finish(self) -> Result<(), NotPlain> {
        let Page { text, entries } = self.writer.page;
        if !self.is_in_order {
            put_in_order(text, entries.get(self.first..).unwrap_or_default())?;
        }
        entries.truncate(self.first);
        text.push('}');
        Ok(())
    }
}

/// The entries are the last that were written.
fn put_in_order(text: &mut String, entries: &[Entry]) -> Result<(), NotPlain> {
    let ends = entries.iter().skip(1).map(|next| next.start() - 1).chain([text.len()]);
    let written = entries.iter().zip(ends);
    let mut ordered: Vec<_> = written.map(|(entry, end)| (entry.key(text), entry.start()..end)).collect();
    ordered.sort_unstable_by_key(|(key, _)| *key);
    // Which of two values stands is for others to say.
    if ordered.windows(2).any(|pair| matches!(pair, [(one, _), (other, _)] if one == other)) {
        return Err(NotPlain);
    }
    let ordered: Vec<_> = ordered.into_iter().filter_map(|(_, place)| text.get(place)).collect();
    let ordered = ordered.join(",");
    text.truncate(entries.first().map_or(text.len(), Entry::start));
    text.push_str(&ordered);
    Ok(())
}

impl SerializeSeq for Array<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotPlain> {
        self.item(item)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.finish();
        Ok(())
    }
}

impl SerializeTuple for Array<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotPlain> {
        self.item(item)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.finish();
        Ok(())
    }
}

impl SerializeTupleStruct for Array<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), NotPlain> {
        self.item(item)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.finish();
        Ok(())
    }
}

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotPlain> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotPlain> {
        self.value(value)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.finish()
    }
}

impl SerializeStruct for Object<'_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), NotPlain> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.finish()
    }
}
