//! What every call passes through, and what every service stands on.
//!
//! The request path is one stack, composed once in [`stack`]: request id, trace, panic guard, identity,
//! authorisation, deadline, a place. Promises that no handler runs for a caller who was not identified and whose
//! role the contract does not name, that each answer carries its request id, that an error carries one
//! `google.rpc.ErrorInfo`, and that the cause of a failure is logged here and never sent.

pub mod call;
pub mod certificate;
pub mod clock;
pub mod fault;
pub mod identity;
pub mod limits;
mod metrics;
pub mod page;
pub mod peer;
pub mod principal;
pub mod process;
pub mod readiness;
pub mod serve;
pub mod settings;
mod spans;
pub mod stack;
pub mod tasks;
pub mod tls;
pub mod tokens;
pub mod violations;
pub mod wire;

pub use call::Call;
pub use certificate::ClientCertificate;
pub use clock::now;
pub use fault::Fault;
pub use identity::Identity;
pub use limits::Limits;
pub use peer::{Peer, PeerError, PeerSettings};
pub use principal::{Principal, PrincipalKind};
pub use readiness::Readiness;
pub use serve::{Edge, ServeError};
pub use settings::{EdgeSettings, Mistakes, Secret, Settings};
pub use stack::{HttpApi, Streaming, Voice};
pub use tasks::Tasks;
pub use tokens::TokenTable;
pub use violations::Violations;
