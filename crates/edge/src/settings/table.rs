//! One table of a configuration, as it is being read.

use std::error::Error;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::followed::{Prints, print};
use super::knob::unit;
use super::secret::{usable, variable};
use super::source::Source;
use super::suggest::nearest;
use super::{Knob, Mistake, Mistakes, Presence, Secret, Setting, Wrong};
use crate::fault::chain;

/// Where a table stands, if it does.
#[derive(Clone)]
pub(super) struct Place<'a> {
    entries: Option<&'a DeTable<'a>>,
    /// As people write it, such as `approval.edge`; empty for the file itself.
    path: String,
    /// Its first byte.
    start: Option<usize>,
}

impl<'a> Place<'a> {
    pub(super) fn file(entries: &'a DeTable<'a>) -> Self {
        Self { entries: Some(entries), path: String::new(), start: None }
    }

    /// A table that nobody wrote: its questions are asked, and nothing is answered.
    pub(super) fn nowhere() -> Self {
        Self { entries: None, path: String::new(), start: None }
    }
}

/// One table. Whoever reads it asks for all of its keys first and judges what they hold then, so that no mistake
/// hides another; a key that is not asked for is unknown.
///
/// What is there and wrong is recorded with its line, and nothing is returned for it; the reading as a whole fails
/// in the end.
pub struct Table<'a> {
    source: &'a Source,
    place: Place<'a>,
    known: Vec<&'static str>,
    /// Whether keys that were not asked for are somebody else's affair.
    in_part: bool,
    ended: Ended,
}

/// What is left of a table once it was read.
pub(super) struct Ended {
    pub(super) mistakes: Mistakes,
    pub(super) knobs: Vec<Knob>,
    /// Files with secrets in them, as they were read.
    pub(super) files: Prints,
}

impl<'a> Table<'a> {
    pub(super) fn new(source: &'a Source, place: Place<'a>) -> Self {
        Self {
            source,
            place,
            known: Vec::new(),
            in_part: false,
            ended: Ended { mistakes: source.no_mistakes(), knobs: Vec::new(), files: Prints::new() },
        }
    }

    /// A value that must be there.
    pub fn required<T: Setting>(&mut self, key: &'static str, meaning: &'static str) -> Option<T> {
        let value = self.take::<T>(key);
        if matches!(value, Taken::Absent) {
            self.missing(key, T::KIND);
        }
        let value = value.right();
        self.ask(key, T::KIND.to_owned(), Presence::Required, meaning, value.as_ref());
        value
    }

    /// A value that may be there.
    pub fn optional<T: Setting>(&mut self, key: &'static str, meaning: &'static str) -> Option<T> {
        let value = self.take::<T>(key).right();
        self.ask(key, T::KIND.to_owned(), Presence::Optional, meaning, value.as_ref());
        value
    }

    /// A value with a default.
    pub fn or<T: Setting>(&mut self, key: &'static str, default: T, meaning: &'static str) -> T {
        let presence = Presence::Default(default.show());
        let value = self.take::<T>(key).right().unwrap_or(default);
        self.ask(key, T::KIND.to_owned(), presence, meaning, Some(&value));
        value
    }

    /// A number within a range, with a default.
    pub fn number<N: Setting + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        default: N,
        meaning: &'static str,
    ) -> N {
        let kind = kind_of(key, &range);
        let presence = Presence::Default(default.show());
        let value = self.within(key, &range, &kind).unwrap_or(default);
        self.ask(key, kind, presence, meaning, Some(&value));
        value
    }

    /// A number within a range that may be there.
    pub fn optional_number<N: Setting + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        meaning: &'static str,
    ) -> Option<N> {
        let kind = kind_of(key, &range);
        let value = self.within(key, &range, &kind);
        self.ask(key, kind, Presence::Optional, meaning, value.as_ref());
        value
    }

    /// A length of time, in milliseconds, within a range, with a default.
    pub fn milliseconds(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
        meaning: &'static str,
    ) -> Duration {
        Duration::from_millis(self.number(key, range, default, meaning))
    }

    /// One of some words, each with what it stands for.
    pub fn choice<T>(
        &mut self,
        key: &'static str,
        choices: impl IntoIterator<Item = (&'static str, T)>,
        meaning: &'static str,
    ) -> Option<T> {
        let (words, values): (Vec<_>, Vec<_>) = choices.into_iter().unzip();
        let kind = format!("one of {}", words.join(", "));
        let word = self.take::<String>(key);
        if matches!(word, Taken::Absent) {
            self.missing(key, &kind);
        }
        let word = word.right();
        self.ask(key, kind, Presence::Required, meaning, word.as_ref());
        self.chosen(key, &word?, &words, values)
    }

    /// The same, where the first word stands for what is not said.
    pub fn choice_or<T>(
        &mut self,
        key: &'static str,
        default: (&'static str, T),
        others: impl IntoIterator<Item = (&'static str, T)>,
        meaning: &'static str,
    ) -> Option<T> {
        let (words, values): (Vec<_>, Vec<_>) = std::iter::once(default).chain(others).unzip();
        let kind = format!("one of {}", words.join(", "));
        let default = words.first().copied().unwrap_or_default().to_owned();
        let presence = Presence::Default(default.show());
        let word = self.take::<String>(key).right().unwrap_or(default);
        self.ask(key, kind, presence, meaning, Some(&word));
        self.chosen(key, &word, &words, values)
    }

    fn chosen<T>(
        &mut self,
        key: &'static str,
        word: &str,
        words: &[&'static str],
        values: Vec<T>,
    ) -> Option<T> {
        let Some(place) = words.iter().position(|known| *known == word) else {
            let kind = format!("one of {}", words.join(", "));
            let hint =
                nearest(word, words).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.mistake(key, format!("must be {kind}{hint}"));
            return None;
        };
        values.into_iter().nth(place)
    }

    /// What the file at a path holds.
    pub fn file<T, E: Error + 'static>(
        &mut self,
        key: &'static str,
        meaning: &'static str,
        load: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Option<T> {
        let path = self.required::<PathBuf>(key, meaning)?;
        self.loaded(key, load(&path))
    }

    /// The same, where there may be no such file.
    pub fn optional_file<T, E: Error + 'static>(
        &mut self,
        key: &'static str,
        meaning: &'static str,
        load: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Option<T> {
        let path = self.optional::<PathBuf>(key, meaning)?;
        self.loaded(key, load(&path))
    }

    /// What was made of the value at a key, or a mistake there.
    pub fn loaded<T, E: Error + 'static>(&mut self, key: &'static str, loaded: Result<T, E>) -> Option<T> {
        loaded.map_err(|error| self.mistake(key, chain(&error, ": "))).ok()
    }

    /// A secret, from the file that `file` names or from the environment variable that `environment` names.
    pub fn secret(
        &mut self,
        [file, environment]: [&'static str; 2],
        meaning: &'static str,
    ) -> Option<Secret> {
        let path = self.optional::<PathBuf>(file, meaning);
        let name = self.optional::<String>(environment, meaning);
        let (key, text) = match (path, name) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.mistake(environment, format!("give {file} or {environment}, not both"));
                return None;
            }
            (Some(path), None) => {
                let text = std::fs::read_to_string(&path);
                let seen = text.as_ref().ok().and_then(|text| print(text.as_bytes()));
                self.ended.files.insert(path.clone(), seen);
                (file, text.map_err(|error| format!("cannot read {}: {error}", path.display())))
            }
            (None, Some(name)) => {
                let text = variable(&name);
                (
                    environment,
                    text.map_err(|_may_show_it| format!("the variable {name} is not set, or is not UTF-8")),
                )
            }
        };
        let secret = text.and_then(|text| usable(&text));
        secret.map_err(|problem| self.mistake(key, problem)).ok()
    }

    /// A table within this one that must be there.
    pub fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> Option<T> {
        if self.place.entries.is_some() && !self.has(key) {
            let path = self.path(key);
            self.missing(key, &format!("a table [{path}]"));
            self.know(key);
            return None;
        }
        self.optional_table(key, read)
    }

    /// A table within this one that may be there.
    pub fn optional_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> Option<T> {
        self.know(key);
        let path = self.path(key);
        match self.entry(key) {
            Some((start, value)) => self.inner(path, start, value, read),
            None if self.place.entries.is_none() => self.read_place(Place { path, ..Place::nowhere() }, read),
            None => None,
        }
    }

    /// A list of tables, such as every `[[model-router.model]]`; none where the key is not there. Those without
    /// mistakes are returned.
    pub fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Table<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.know(key);
        let path = self.path(key);
        let Some((start, value)) = self.entry(key) else {
            if self.place.entries.is_none() {
                drop(self.read_place(Place { path, ..Place::nowhere() }, read));
            }
            return None;
        };
        let Some(items) = value.as_array() else {
            self.mistake_at(Some(start), path.clone(), format!("must be a list of tables [[{path}]]"));
            return None;
        };
        let mut all = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let name = item.get_ref().get("name").and_then(|name| name.get_ref().as_str());
            let name = name.map_or_else(|| (at + 1).to_string(), |name| name.escape_debug().to_string());
            let path = format!("{path}.{name}");
            all.extend(self.inner(path, item.span().start, item.get_ref(), &mut read));
        }
        Some(all)
    }

    /// Records what is wrong with the value of a key, and what would be right.
    pub fn mistake(&mut self, key: &str, problem: impl Into<String>) {
        let start = self.entry(key).map_or(self.place.start, |(start, _)| Some(start));
        self.mistake_at(start, self.path(key), problem.into());
    }

    /// Whether a key is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Keeps a key from being unknown without reading it.
    pub(super) fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// Only a part of the table is read; what else it holds is judged by who reads the whole.
    pub(super) fn leave_the_rest(&mut self) {
        self.in_part = true;
    }

    /// Ends the reading: keys that were not asked for are mistakes.
    pub(super) fn finish(mut self) -> Ended {
        let entries = self.place.entries.into_iter().flatten();
        let unknown =
            entries.filter(|(key, _)| !self.in_part && !self.known.contains(&key.get_ref().as_ref()));
        for (key, _) in unknown.collect::<Vec<_>>() {
            let name = key.get_ref().as_ref();
            let hint = match nearest(name, &self.known) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("there are {}", self.known.join(", ")),
            };
            let path = self.path(&name.escape_debug().to_string());
            self.mistake_at(Some(key.span().start), path, format!("is not known here; {hint}"));
        }
        self.ended
    }

    fn inner<T>(
        &mut self,
        path: String,
        start: usize,
        value: &'a DeValue<'a>,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> Option<T> {
        let Some(entries) = value.as_table() else {
            self.mistake_at(Some(start), path, "must be a table".to_owned());
            return None;
        };
        self.read_place(Place { entries: Some(entries), path, start: Some(start) }, read)
    }

    fn read_place<T>(
        &mut self,
        place: Place<'a>,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut table = Table::new(self.source, place);
        let value = read(&mut table);
        let Ended { mistakes, knobs, files } = table.finish();
        self.ended.mistakes.append(mistakes);
        self.ended.knobs.extend(knobs);
        self.ended.files.extend(files);
        value
    }

    /// A number that is there and within its range. Whatever is wrong with it, the range says what would be right.
    fn within<N: Setting + PartialOrd>(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<N>,
        kind: &str,
    ) -> Option<N> {
        let Some((_, DeValue::Integer(written))) = self.entry(key) else {
            return self.take::<N>(key).right();
        };
        self.know(key);
        let within = N::take(&DeValue::Integer(written.clone())).ok().filter(|value| range.contains(value));
        if within.is_none() {
            self.mistake(key, format!("{written} must be {kind}"));
        }
        within
    }

    fn take<T: Setting>(&mut self, key: &'static str) -> Taken<T> {
        self.know(key);
        let Some((_, value)) = self.entry(key) else { return Taken::Absent };
        match T::take(value) {
            Ok(value) => Taken::Right(value),
            Err(Wrong(problem)) => {
                self.mistake(key, problem);
                Taken::Wrong
            }
        }
    }

    fn ask<T: Setting>(
        &mut self,
        key: &str,
        kind: String,
        presence: Presence,
        meaning: &'static str,
        value: Option<&T>,
    ) {
        let value = value.map(T::show);
        self.ended.knobs.push(Knob { path: self.path(key), kind, presence, meaning, value });
    }

    /// Where the key stands, and what stands there.
    fn entry(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let (found, value): (&Spanned<_>, _) = self.place.entries?.get_key_value(key)?;
        Some((found.span().start, value.get_ref()))
    }

    fn path(&self, key: &str) -> String {
        if self.place.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.path) }
    }

    fn missing(&mut self, key: &str, kind: &str) {
        if self.place.entries.is_some() {
            self.mistake(key, format!("is missing; it must be {kind}"));
        }
    }

    fn mistake_at(&mut self, start: Option<usize>, key: String, problem: String) {
        let line = start.map(|start| self.source.line(start));
        self.ended.mistakes.push(Mistake { line, key, problem });
    }
}

/// A number's range, in words.
fn kind_of<N: Display>(key: &str, range: &RangeInclusive<N>) -> String {
    let unit = unit(key).map_or_else(String::new, |unit| format!(" {unit}"));
    format!("{} to {}{unit}", range.start(), range.end())
}

/// What became of a value.
enum Taken<T> {
    Absent,
    /// There, and a mistake that is recorded.
    Wrong,
    Right(T),
}

impl<T> Taken<T> {
    fn right(self) -> Option<T> {
        match self {
            Self::Right(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }
}
