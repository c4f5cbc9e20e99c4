//! Who may do what beyond the roles that the contract names.

use bulkhead_edge::{Call, Fault, Principal, PrincipalKind};
use bulkhead_idempotency::{PayloadDigest, Request};
use tonic::Code;
use uuid::Uuid;

use super::status;
use crate::approval::Approval;
use crate::desk::Caller;

/// Roles that see every approval of their tenant.
const READERS: [&str; 4] = ["approver", "operator", "auditor", "service"];

/// Only a service asks for others, and only for principals of its own tenant.
pub(super) fn may_act_for(call: &Call, principal: &Principal) -> Result<(), Fault> {
    let same_tenant = principal.tenant == call.tenant();
    if same_tenant && (call.has_role("service") || principal == call.principal()) {
        return Ok(());
    }
    Err(Fault::new(Code::PermissionDenied, "ON_BEHALF_OF_FORBIDDEN")
        .saying("only the role service may act for others, and only within its own tenant")
        .with("on_behalf_of", principal))
}

/// An agent sees what was asked on its behalf; the rest is not there for it.
pub(super) fn may_see(call: &Call, approval: &Approval) -> Result<(), Fault> {
    let agent = call.principal().kind == PrincipalKind::Agent;
    let reader = READERS.iter().any(|role| call.has_role(role));
    if (reader && !agent) || is_same(call.principal(), &approval.question.on_behalf_of) {
        return Ok(());
    }
    Err(status::not_found(approval.id))
}

fn is_same(one: &Principal, other: &Principal) -> bool {
    one.tenant == other.tenant && one.kind == other.kind && one.name == other.name
}

/// What the desk needs to know about who sends a request.
pub(super) fn caller(call: &Call, method: &'static str, id: Uuid, payload: PayloadDigest) -> Caller {
    let request = Request::new(call.tenant(), call.principal(), method, id, payload);
    Caller { call_id: call.request_id().to_owned(), request }
}
