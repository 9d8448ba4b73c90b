//! The host that the files of exports lie on: another origin than the API, as the vendor's storage is.
//!
//! Whoever has a signed address that still holds gets the file; nobody needs credentials here, and a client that sends
//! some has given them to a stranger, which is recorded. Limits and faults are the API's and not this host's.

use std::sync::Arc;

use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, COOKIE},
};

use super::{Simulator, reply::Reply, wire::Payload};

/// Answers a request for a file.
pub(super) fn serve(simulator: &Arc<Simulator>, request: &Request<Incoming>) -> Response<Payload> {
    for header in [AUTHORIZATION, COOKIE] {
        if request.headers().contains_key(&header) {
            simulator.record.violation(format!("the storage of exports was sent the header {header}"));
        }
    }
    if *request.method() != Method::GET {
        return refused(405, "MethodNotAllowed").send();
    }
    simulator.record.download();
    let uri = request.uri();
    let Some(file) = simulator.exports.file(uri.path(), uri.query().unwrap_or_default()) else {
        return refused(403, "AccessDenied").send();
    };
    let pieces = file.content.pieces(simulator.world.clone(), file.columns, file.breaks);
    let body = if file.breaks { Payload::broken(pieces) } else { Payload::Pieces(Box::new(pieces)) };
    Reply::new(200, "text/csv", "").send_as(body)
}

/// An error in the form that storage hosts use.
fn refused(status: u16, code: &str) -> Reply {
    Reply::new(
        status,
        "application/xml",
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"),
    )
}
