//! The `bulkhead` command with failpoints compiled in, for tests alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead::main()
}
