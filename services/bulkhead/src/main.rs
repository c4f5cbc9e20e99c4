//! The `bulkhead` command, as shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead::main()
}
