//! Tool names for providers that take no dots.

use std::collections::BTreeMap;

use crate::chat::Prompt;

/// Two ways between the agent's names (`fs.read`) and the provider's (`fs_read`), for one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToolNames {
    to_wire: BTreeMap<String, String>,
    from_wire: BTreeMap<String, String>,
}

impl ToolNames {
    /// The names of a conversation. The offered tools come first, in order, so that the same tools always
    /// get the same names and a name that is free of dots keeps it.
    pub(crate) fn of(prompt: &Prompt) -> Self {
        let mut names = Self::default();
        let (plain, dotted): (Vec<_>, Vec<_>) =
            prompt.tools.iter().map(|tool| tool.name.as_str()).partition(|name| !name.contains('.'));
        for name in plain.into_iter().chain(dotted) {
            names.add(name);
        }
        names
    }

    /// The provider's name; of a tool that is offered no more, the plain rewriting.
    pub(crate) fn wire(&self, name: &str) -> String {
        self.to_wire.get(name).cloned().unwrap_or_else(|| name.replace('.', "_"))
    }

    /// The agent's name of an offered tool, whichever of its two names the model uses; none of any other.
    pub(crate) fn offered(&self, name: &str) -> Option<&str> {
        let (agents, _wire) = self.to_wire.get_key_value(name).unzip();
        self.from_wire.get(name).or(agents).map(String::as_str)
    }

    fn add(&mut self, name: &str) {
        let mut wire = name.replace('.', "_");
        while self.from_wire.contains_key(&wire) {
            wire.push('_');
        }
        self.to_wire.insert(name.to_owned(), wire.clone());
        self.from_wire.insert(wire, name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Tool;
    use crate::provider::samples;

    #[test]
    fn names_survive_both_ways_even_where_they_collide() {
        let tool = |name: &str| Tool {
            name: name.into(),
            description: String::new(),
            input_schema: crate::chat::Object::new(),
        };
        let mut prompt = samples::conversation();
        prompt.tools = ["fs.read", "fs_read", "a.b.c", "plain"].map(tool).into();
        let names = ToolNames::of(&prompt);
        assert_eq!(names.wire("fs_read"), "fs_read");
        assert_eq!(names.wire("fs.read"), "fs_read_");
        for tool in &prompt.tools {
            let wire = names.wire(&tool.name);
            assert!(!wire.contains('.'));
            assert_eq!(names.offered(&wire), Some(tool.name.as_str()));
        }
        assert_eq!(names.wire("gone.now"), "gone_now");
        assert_eq!(names.offered("a.b.c"), Some("a.b.c"));
        assert_eq!(names.offered("unknown"), None);
    }
}
