//! Replaces `smtp` in a build without the feature `smtp`: a configured mail server is an error.

use super::Message;
use super::email::EmailSettings;
use crate::error::{Error, Result};

/// A mail client, of which this build has none.
pub(super) enum Email {}

impl Email {
    pub(super) fn new(_settings: &EmailSettings) -> Result<Self> {
        Err(Error::left_out("notices by e-mail", "smtp"))
    }

    #[expect(clippy::unused_async, reason = "it replaces a function that sends")]
    pub(super) async fn send(&self, _message: &Message<'_>) -> Result<(), String> {
        match *self {}
    }
}
