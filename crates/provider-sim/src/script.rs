//! Where a model stands in its script.

use crate::control::{Script, Step};

/// A script and the place in it.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    script: Script,
    place: usize,
}

impl Progress {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, place: 0 }
    }

    /// The step for the next request; none when the script has no more to say.
    pub(crate) fn advance(&mut self) -> Option<Step> {
        if self.place >= self.script.steps.len() && self.script.repeat {
            self.place = 0;
        }
        match self.script.steps.get(self.place) {
            Some(step) => {
                self.place += 1;
                Some(step.clone())
            }
            None => self.script.then.clone(),
        }
    }

    /// What is left: a cycle stays whole, whatever its place.
    pub(crate) fn rest(&self) -> Script {
        let mut rest = self.script.clone();
        if !rest.repeat {
            rest.steps.drain(..self.place.min(rest.steps.len()));
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(script: Script, count: usize) -> Vec<Option<Step>> {
        let mut progress = Progress::new(script);
        std::iter::repeat_with(|| progress.advance()).take(count).collect()
    }

    #[test]
    fn steps_come_once_then_the_last_word() {
        let script = Script::once([Step::status(429)]).then(Step::text("ok"));
        let expected = [Step::status(429), Step::text("ok"), Step::text("ok")].map(Some);
        assert_eq!(codes(script, 3), expected);
    }

    #[test]
    fn a_cycle_starts_again() {
        let script = Script::cycle([Step::status(503), Step::text("ok")]);
        let expected = [Step::status(503), Step::text("ok"), Step::status(503)].map(Some);
        assert_eq!(codes(script, 3), expected);
    }

    #[test]
    fn a_used_up_script_leaves_the_word_to_the_name() {
        assert_eq!(codes(Script::once([Step::status(500)]), 2), [Some(Step::status(500)), None]);
        assert_eq!(codes(Script::cycle([]), 1), [None]);
    }
}
