//! The simulator's Basic credentials, and which paths each credential may use.
//!
//! The simulator computes the accepted `Authorization` headers once and compares them as text. Therefore the simulator
//! decodes no Authorization header. The simulator logs and records no credential.

use base64ct::{Base64, Encoding};

use super::{options::Options, record::Host};

/// The permissions of a credential in the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Full,
    ReadOnly,
    BrandOnly,
    AdvocateOnly,
    /// The credential may use REST, but neither GraphQL nor exports.
    RestOnly,
}

impl Scope {
    pub(super) fn reaches(self, host: Host) -> bool {
        match self {
            Self::Full | Self::ReadOnly | Self::RestOnly => true,
            Self::BrandOnly => host == Host::Brand,
            Self::AdvocateOnly => host == Host::Advocate,
        }
    }

    /// Returns `true` if the credential may use a path below the tenant or the SID.
    pub(super) fn allows(self, path: &str) -> bool {
        self != Self::RestOnly || !(path == "graphql" || path.starts_with("export"))
    }

    pub(super) fn writes(self) -> bool {
        self != Self::ReadOnly
    }
}

#[derive(Debug)]
pub(super) struct Keys {
    headers: Vec<(String, Scope)>,
}

impl Keys {
    pub(super) fn new(options: &Options) -> Self {
        let sid = &options.account_sid;
        let basic =
            |user: &str, token: &str| format!("Basic {}", Base64::encode_string(format!("{user}:{token}").as_bytes()));
        Self {
            headers: vec![
                (basic(sid, &options.token), Scope::Full),
                (basic("", "simulator-key"), Scope::AdvocateOnly),
                (basic(sid, "read-only-token"), Scope::ReadOnly),
                (basic(sid, "brand-only-token"), Scope::BrandOnly),
                (basic(sid, "advocate-only-token"), Scope::AdvocateOnly),
                (basic(sid, "rest-only-token"), Scope::RestOnly),
            ],
        }
    }

    /// Returns the `Authorization` header of the token with all permissions.
    #[cfg(test)]
    pub(super) fn full(&self) -> &str {
        &self.headers[0].0
    }

    pub(super) fn scope(&self, authorization: &[u8]) -> Option<Scope> {
        self.headers.iter().find(|(header, _)| header.as_bytes() == authorization).map(|(_, scope)| *scope)
    }
}
