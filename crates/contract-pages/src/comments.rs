//! What the sources say above each thing.

use std::collections::HashMap;

use prost_reflect::DescriptorPool;

/// Comments by file and path in it.
pub(crate) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    pub(crate) fn read(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let proto = file.file_descriptor_proto();
            for location in proto.source_code_info.iter().flat_map(|info| &info.location) {
                if let Some(comment) = &location.leading_comments {
                    let words: Vec<&str> = comment.split_whitespace().collect();
                    comments.insert((file.name().to_owned(), location.path.clone()), words.join(" "));
                }
            }
        }
        Self(comments)
    }

    /// The comment of what stands at `path` in `file`, as one paragraph; empty when there is none.
    pub(crate) fn of(&self, file: &str, path: &[i32]) -> &str {
        self.0.get(&(file.to_owned(), path.to_vec())).map_or("", String::as_str)
    }
}
