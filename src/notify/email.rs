//! The settings of notices by e-mail.

use crate::vendor::Secret;

/// How the connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// STARTTLS before any other command, usually on port 587.
    StartTls,
    /// No encryption; only for a mail server on this machine.
    None,
}

#[derive(Debug, Clone)]
pub struct EmailSettings {
    pub host: String,
    /// The port of the mail server; `None` for the usual port of the encryption.
    pub port: Option<u16>,
    pub tls: SmtpTls,
    /// The user and the password at the mail server; `None` if the mail server needs no login.
    pub login: Option<(String, Secret)>,
    pub from: String,
    pub to: Vec<String>,
}
