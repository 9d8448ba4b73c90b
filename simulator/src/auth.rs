//! Basic credentials, and which paths each credential may use.
//!
//! The accepted `Authorization` headers are computed once and compared as text, so no request is decoded. No credential is
//! logged or recorded.

use base64ct::{Base64, Encoding};

use super::{options::Options, record::Host};

/// The permissions of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Full,
    ReadOnly,
    BrandOnly,
    AdvocateOnly,
    /// REST without GraphQL and exports.
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

    /// Whether the credential may use a path below the tenant or the SID.
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

    /// Returns the header of the token with all permissions.
    #[cfg(test)]
    pub(super) fn full(&self) -> &str {
        &self.headers[0].0
    }

    pub(super) fn scope(&self, authorization: &[u8]) -> Option<Scope> {
        self.headers.iter().find(|(header, _)| header.as_bytes() == authorization).map(|(_, scope)| *scope)
    }
}
