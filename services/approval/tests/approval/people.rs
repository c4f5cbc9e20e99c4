//! Who calls. A person's token is their name.

use std::fmt::Write as _;

use bulkhead_edge::tokens::token_hash;

/// (name, tenant, kind, owner, roles)
const PEOPLE: [(&str, &str, &str, &str, &[&str]); 13] = [
    ("tool-executor", "default", "service", "", &["service"]),
    ("scribe", "default", "agent", "ada", &["agent"]),
    ("courier", "default", "agent", "bob", &["agent"]),
    ("robot", "default", "agent", "bob", &["agent", "approver"]),
    ("ada", "default", "person", "", &["approver"]),
    ("bob", "default", "person", "", &["approver"]),
    ("cleo", "default", "person", "", &["approver"]),
    ("dan", "default", "person", "", &["approver", "dba"]),
    ("olga", "default", "person", "", &["operator"]),
    ("toni", "default", "person", "", &["auditor"]),
    ("other-executor", "other", "service", "", &["service"]),
    ("eve", "other", "person", "", &["approver"]),
    ("approval", "default", "service", "", &["service"]),
];

/// The token file that knows them.
pub(crate) fn token_file() -> String {
    PEOPLE.iter().fold(String::new(), |mut file, (name, tenant, kind, owner, roles)| {
        let owner = if owner.is_empty() { String::new() } else { format!("owner = {owner:?}\n") };
        let hash = token_hash(name);
        write!(
            file,
            "[[token]]\nhash = {hash:?}\ntenant = {tenant:?}\nkind = {kind:?}\nname = {name:?}\n\
             {owner}roles = {roles:?}\n"
        )
        .expect("a string takes text");
        file
    })
}
