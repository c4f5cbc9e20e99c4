//! The way in.

use super::{WRITTEN, name_of};
use crate::{Contract, Page};

const RULES: &str = "\
## What holds for every RPC
- **Who calls** is proved by a credential (`authorization: Bearer …`, or a client certificate), never by a field
  of the message. Which roles may call an RPC is an option of the RPC, enforced before any handler runs. Nothing
  crosses tenants: what another tenant has looks like what is not there.
- **Sending again**: an RPC that changes something takes a `request_id`, a UUID. The same id with the same payload
  acts once and gets the same answer; with another payload it is `ALREADY_EXISTS` / `REQUEST_ID_REUSED`. Ids are
  scoped by tenant, caller and RPC. Where it is otherwise, the RPC says so.
- **Deadlines**: `grpc-timeout` is obeyed and passed on, less a margin. Without one a unary call gets the service's
  `unary_timeout_ms` (30 s unless configured), and a stream ends at `stream_timeout_ms` (an hour) and can be opened
  again from the last thing seen.
- **Errors** carry exactly one `google.rpc.ErrorInfo`; [every reason has a row](errors.md). An error that an RPC
  does not announce on its page fails the tests.
- **Unknown values** of an enum are refused in requests. A field that this version cannot honour is refused with
  `INVALID_ARGUMENT` naming it, never ignored; the pages say *Refused for now*.
- **Lists** are paged: `page_size` 1 to 1,000 (0 means 100), and `page_token` from the answer before, which only
  continues the same filters. An empty `next_page_token` is the end.
- **Sizes**: a message has at most 8 MiB, the headers of a request at most 16 KiB.
- **Times** are UTC; a duration is not negative. Digests are SHA-256 as 64 lower-case hex digits. JSON travels as
  text, because a digest is made over the bytes; duplicate keys and integers beyond 2^53 are refused wherever a
  digest is made.
";

pub(crate) fn page(contract: &Contract) -> Page {
    let services: String = contract
        .services
        .iter()
        .map(|service| {
            let comment = contract.comments.of(service.parent_file().name(), service.path());
            format!("| [{}]({}) | {comment} |\n", service.full_name(), name_of(service))
        })
        .collect();
    let text = format!(
        "# The contract\n{WRITTEN}\n| page | |\n|---|---|\n{services}\
         | [Common messages](common.md) | What several services share. |\n\
         | [Errors](errors.md) | Every reason, whether it happened, and whether to retry. |\n\
         | [Requirements](requirements.md) | Which message serves which requirement. |\n\n{RULES}"
    );
    Page { name: "README.md".to_owned(), text }
}
