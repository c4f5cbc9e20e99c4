//! Who waits, first come, first served. Pure.

use std::collections::VecDeque;

/// A place in a line. None has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

/// Those who wait, oldest first.
#[derive(Debug)]
pub(super) struct Line<W> {
    waiting: VecDeque<(Number, W)>,
    next: u64,
}

impl<W> Line<W> {
    /// One more, behind all others.
    pub(super) fn join(&mut self, one: W) -> Number {
        let number = Number(self.next);
        self.next += 1;
        self.waiting.push_back((number, one));
        number
    }

    /// One less, wherever they stand.
    pub(super) fn leave(&mut self, number: Number) {
        if let Ok(at) = self.waiting.binary_search_by_key(&number, |(number, _)| *number) {
            self.waiting.remove(at);
        }
    }

    /// Who came first.
    pub(super) fn first(&self) -> Option<&W> {
        self.waiting.front().map(|(_, one)| one)
    }

    /// Whether it is the turn of this number; without one, of somebody who comes now.
    pub(super) fn is_next(&self, number: Option<Number>) -> bool {
        self.waiting.front().map(|(first, _)| *first) == number
    }
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_is_first_whoever_leaves() {
        let mut line = Line::default();
        assert!(line.is_next(None), "nobody waits");
        let [ada, bob, cleo] = ["ada", "bob", "cleo"].map(|name| line.join(name));
        assert!(line.is_next(Some(ada)) && !line.is_next(None) && !line.is_next(Some(bob)));
        line.leave(bob);
        assert_eq!(line.first(), Some(&"ada"));
        line.leave(ada);
        line.leave(ada);
        assert!(line.is_next(Some(cleo)));
        let dan = line.join("dan");
        line.leave(cleo);
        assert!(line.is_next(Some(dan)));
        line.leave(dan);
        assert!(line.is_next(None) && line.first().is_none());
    }
}
