//! Which failpoints a process was told to have, and how often it has passed each.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CRASHES, FAULTS};

/// Failpoints as the variable names them.
#[derive(Debug)]
pub(crate) struct Told(Vec<Named>);

#[derive(Debug)]
struct Named {
    name: String,
    /// The pass at which it is active, from 1; none: at every pass.
    only_at: Option<u64>,
    passes: AtomicU64,
}

/// What this process was told; ends it where that means nothing.
#[cfg(feature = "enabled")]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the one place that reads failpoints, in test builds only"
)]
pub(crate) fn by_environment() -> Told {
    Told::parse(&std::env::var(crate::VARIABLE).unwrap_or_default()).unwrap_or_else(|unknown| {
        eprintln!("{}: {unknown}", crate::VARIABLE);
        std::process::abort()
    })
}

impl Told {
    fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(Named::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Passes a failpoint, and says whether it is active this time.
    pub(crate) fn pass(&self, name: &str) -> bool {
        // One may be named for several passes, and each counts: so this looks at all of them.
        let active = self.0.iter().filter(|named| named.name == name && named.pass());
        active.count() > 0
    }
}

impl Named {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, only_at) = match text.split_once('@') {
            None => (text, None),
            Some((name, pass)) => match pass.parse() {
                Ok(pass @ 1..) => (name, Some(pass)),
                Ok(0) | Err(_) => return Err(format!("{text} is no `name@pass`; passes count from 1")),
            },
        };
        if FAULTS.iter().chain(CRASHES).all(|known| known.name != name) {
            return Err(format!("there is no failpoint {name}"));
        }
        Ok(Self { name: name.to_owned(), only_at, passes: AtomicU64::new(0) })
    }

    fn pass(&self) -> bool {
        let before = self.passes.fetch_add(1, Ordering::Relaxed);
        self.only_at.is_none_or(|pass| pass == before + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At which of five passes of `fs.taken` a text makes it active.
    fn active(text: &str) -> Vec<u64> {
        let told = Told::parse(text).expect("means something");
        (1..=5).filter(|_| told.pass("fs.taken")).collect()
    }

    #[test]
    fn a_name_alone_is_active_at_every_pass_and_with_a_number_at_that_one() {
        let table: [(&str, &[u64]); 7] = [
            ("", &[]),
            ("fs.taken", &[1, 2, 3, 4, 5]),
            ("fs.taken@1", &[1]),
            ("fs.taken@3", &[3]),
            ("fs.taken@6", &[]),
            (" fs.taken@2 ,, fs.taken@5, fs.laid", &[2, 5]),
            ("fs.laid,fs.laid@1", &[]),
        ];
        for (text, passes) in table {
            assert_eq!(active(text), passes, "{text:?}");
        }
    }

    #[test]
    fn the_passes_of_one_failpoint_say_nothing_about_another() {
        let told = Told::parse("fs.taken@2,fs.laid@1").expect("means something");
        let passed = ["fs.taken", "fs.laid", "fs.laid", "fs.taken"].map(|name| told.pass(name));
        assert_eq!(passed, [false, true, false, true]);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in
            ["fs.takn", "fs.taken@", "fs.taken@0", "fs.taken@-1", "fs.taken@2@3", "@1", "fs.laid fs.taken"]
        {
            assert!(Told::parse(text).is_err(), "{text:?}");
        }
    }
}
