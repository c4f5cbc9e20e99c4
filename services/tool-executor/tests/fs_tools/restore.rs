//! Whatever was done, undoing all of it in reverse restores the tree.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

use crate::sandbox::{Done, Sandbox};

const PATHS: [&str; 6] = ["a.md", "b/c.md", "b/d.md", "e/f/g.md", "e/f/h/i.md", "id_rsa"];

#[derive(Debug, Clone)]
enum Step {
    Write { path: usize, content: String },
    Append { path: usize, content: String },
    Move { from: usize, to: usize },
    Delete { path: usize },
    UndoLast,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..PATHS.len(), "[a-c\n]{0,12}").prop_map(|(path, content)| Step::Write { path, content });
    let append = (0..PATHS.len(), "[a-c\n]{1,12}").prop_map(|(path, content)| Step::Append { path, content });
    prop_oneof![
        4 => write,
        3 => append,
        3 => (0..PATHS.len(), 0..PATHS.len()).prop_map(|(from, to)| Step::Move { from, to }),
        2 => (0..PATHS.len()).prop_map(|path| Step::Delete { path }),
        1 => any::<bool>().prop_map(|undo| if undo { Step::UndoLast } else { Step::Restart }),
    ]
}

fn is_free(sandbox: &Sandbox, from: usize, to: usize) -> bool {
    sandbox.path(PATHS[from]).exists() && !sandbox.path(PATHS[to]).exists()
}

async fn restores(existing: &[usize], steps: &[Step]) -> Result<(), TestCaseError> {
    let mut sandbox = Sandbox::new();
    for path in existing {
        sandbox.put(PATHS[*path], format!("was here: {path}"));
    }
    let mut trees = vec![sandbox.tree()];
    let mut done: Vec<Done> = Vec::new();
    for step in steps {
        match step {
            Step::Write { path, content } => done.push(sandbox.write(PATHS[*path], content).await),
            Step::Delete { path } if sandbox.path(PATHS[*path]).exists() => {
                done.push(sandbox.delete(PATHS[*path]).await);
            }
            Step::Append { path, content } if sandbox.path(PATHS[*path]).exists() => {
                let before = sandbox.get(PATHS[*path]).unwrap_or_default();
                done.push(sandbox.append(PATHS[*path], content).await);
                prop_assert_eq!(sandbox.get(PATHS[*path]), Some(before + content));
            }
            // The key keeps its name: any other would say less of it.
            Step::Move { from, to } if PATHS[*from] != "id_rsa" && is_free(&sandbox, *from, *to) => {
                let before = sandbox.get(PATHS[*from]);
                done.push(sandbox.rename(PATHS[*from], PATHS[*to]).await);
                prop_assert_eq!(sandbox.get(PATHS[*to]), before);
                prop_assert_eq!(sandbox.get(PATHS[*from]), None);
            }
            Step::UndoLast if !done.is_empty() => {
                sandbox.undo(&done.pop().expect("one"), false).await;
                trees.pop();
                prop_assert_eq!(&sandbox.tree(), trees.last().expect("one"));
                continue;
            }
            Step::Restart => sandbox.reopen(),
            Step::Append { .. } | Step::Move { .. } | Step::Delete { .. } | Step::UndoLast => {}
        }
        if trees.len() <= done.len() {
            trees.push(sandbox.tree());
        }
    }
    while let Some(last) = done.pop() {
        sandbox.undo(&last, false).await;
        trees.pop();
        prop_assert_eq!(&sandbox.tree(), trees.last().expect("one"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undoing_everything_in_reverse_restores_the_tree(
        existing in proptest::sample::subsequence((0..PATHS.len()).collect::<Vec<_>>(), 0..=PATHS.len()),
        steps in proptest::collection::vec(step(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(restores(&existing, &steps))?;
    }
}
