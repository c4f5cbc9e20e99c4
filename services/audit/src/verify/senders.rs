//! Who may tell of what.

use bulkhead_edge::{Principal, PrincipalKind};

/// The services that may send the events of a gated story: the names in their credentials, which the log
/// keeps in the `source` of a line. The kind of a source must be `service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Senders {
    /// The only sender of `approval.*`.
    pub approval: String,
    /// The only sender of `tool.*`.
    pub tool_executor: String,
}

impl Default for Senders {
    /// The names that `bulkhead up` gives.
    fn default() -> Self {
        Self { approval: "approval".to_owned(), tool_executor: "tool-executor".to_owned() }
    }
}

impl Senders {
    /// Who should have sent an event of this kind, if somebody else did.
    pub(super) fn rightful(&self, kind: &str, source: &Principal) -> Option<&str> {
        let rightful = match kind.split_once('.') {
            Some(("approval", _)) => &self.approval,
            Some(("tool", _)) => &self.tool_executor,
            _ => return None,
        };
        let sent_it = source.kind == PrincipalKind::Service && source.name == *rightful;
        (!sent_it).then_some(rightful)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::principal;

    #[test]
    fn each_kind_has_one_sender() {
        let service = |name| principal(PrincipalKind::Service, name);
        let cases = [
            ("tool.intent", service("tool-executor"), None),
            ("tool.intent", service("approval"), Some("tool-executor")),
            ("tool.intent", principal(PrincipalKind::Agent, "tool-executor"), Some("tool-executor")),
            ("approval.settled", service("approval"), None),
            ("approval.settled", service("tool-executor"), Some("approval")),
            ("model.call", service("model-router"), None),
            ("toolbox.opened", service("anybody"), None),
        ];
        for (kind, source, expected) in cases {
            assert_eq!(Senders::default().rightful(kind, &source), expected, "{kind} from {}", source.name);
        }
        let own = Senders { approval: "desk".into(), ..Senders::default() };
        assert_eq!(own.rightful("approval.voted", &service("desk")), None);
        assert_eq!(own.rightful("approval.voted", &service("approval")), Some("desk"));
    }
}
