//! The simulated host of export files. The origin of the export files differs from the API's, as at the vendor.
//!
//! A client can download a file with its signed URL until the URL expires. A client that sends its credentials to the
//! host of export files has leaked the credentials. The simulator records that as a violation. The limits and faults of
//! the API do not apply to export files.

use std::sync::Arc;

use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, COOKIE},
};

use super::{Simulator, connection::Payload, reply::Reply};

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

/// Returns an error in the XML form of storage hosts.
fn refused(status: u16, code: &str) -> Reply {
    Reply::new(
        status,
        "application/xml",
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"),
    )
}
