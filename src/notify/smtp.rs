//! Sends notices as e-mail by SMTP: one message to all recipients.

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret;

use super::email::{EmailSettings, SmtpTls};
use super::{Message, TIMEOUT};
use crate::error::{Error, Kind, Result};

pub(super) struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Email {
    pub(super) fn new(settings: &EmailSettings) -> Result<Self> {
        type Smtp = AsyncSmtpTransport<Tokio1Executor>;
        drop(rustls::crypto::ring::default_provider().install_default());
        let config =
            |what: &str, hint: &str| Error::new(Kind::Config, format!("[notices] {what}")).hint(hint.to_owned());
        let host = settings.host.as_str();
        let unusable = |_error| config("smtp_host cannot be used", "write a host name, such as smtp.example.com");
        let mut smtp = match settings.tls {
            SmtpTls::Tls => Smtp::relay(host).map_err(unusable)?,
            SmtpTls::StartTls => Smtp::starttls_relay(host).map_err(unusable)?,
            SmtpTls::None if ["localhost", "127.0.0.1", "::1"].contains(&host) => Smtp::builder_dangerous(host),
            SmtpTls::None => {
                return Err(config(
                    "smtp_tls = \"none\" is for a server on this machine only",
                    "use \"tls\" or \"starttls\": the password would be readable on its way",
                ));
            }
        };
        if let Some(port) = settings.port {
            smtp = smtp.port(port);
        }
        if let Some((user, secret)) = &settings.login {
            smtp = smtp.credentials(Credentials::new(user.clone(), secret.read()?.expose_secret().to_owned()));
        }
        let mailbox = |text: &String| {
            text.parse::<Mailbox>()
                .map_err(|_error| config("from and to must be e-mail addresses", "write them as name@example.com"))
        };
        Ok(Self {
            transport: smtp.timeout(Some(TIMEOUT)).build(),
            from: mailbox(&settings.from)?,
            to: settings.to.iter().map(mailbox).collect::<Result<_>>()?,
        })
    }

    pub(super) async fn send(&self, message: &Message<'_>) -> Result<(), String> {
        let mut mail = lettre::Message::builder().from(self.from.clone()).subject(format!("recoup: {}", message.text));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail.header(ContentType::TEXT_PLAIN).body(message.lines()).map_err(|error| error.to_string())?;
        // Returns only the code of the mail server's reply, because the reply's text may contain an e-mail address.
        self.transport.send(mail).await.map(drop).map_err(|error| match error.status() {
            Some(code) => format!("the mail server answered {code}"),
            None if error.is_timeout() => "no answer in time".to_owned(),
            None if error.is_tls() => "TLS failed".to_owned(),
            None => "no connection, or it broke".to_owned(),
        })
    }
}
