//! The server that takes our mails.

use std::time::Duration;

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Tls as TlsMode, TlsParameters},
    },
};

use super::Rendered;
use crate::{
    clock::Clock,
    config::{
        mail::{SmtpAddress, Tls},
        settings,
    },
    telemetry::redact::scrub,
};

/// For one command; a mail takes a handful.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// For one mail from the connection to the last answer.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// Connections at the same time, and therefore mails.
pub const CONNECTIONS_MAX: u32 = 4;
const IDLE: Duration = Duration::from_secs(60);
/// Longest answer of a server that is kept, in characters.
const ANSWER_CHARS_MAX: usize = 300;
/// Answers that are about our credentials or TLS, not about the mail: 5xx, and yet the operator can mend them.
const ABOUT_US: [&str; 5] = ["523", "530", "534", "535", "538"];

/// Why a mail did not go out; the texts are for operators and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server will never take this mail.
    #[error("{0}")]
    Refused(String),
    /// Another time it may work.
    #[error("{0}")]
    Passing(String),
}

/// A pool of connections. Clones share it. Use it on one thread only: a connection lives in the runtime it was opened in.
#[derive(Clone)]
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    address: String,
}

impl Smtp {
    /// `None` when no server is configured; an error names the setting that is wrong. Connects to nothing yet.
    pub fn of(settings: &settings::Mail) -> Result<Option<Self>, String> {
        let Some(url) = &settings.smtp_url else { return Ok(None) };
        let address = SmtpAddress::parse(url).map_err(|message| format!("mail.smtp_url: {message}"))?;
        let from = settings.from.as_deref().ok_or("mail.from: is needed with mail.smtp_url")?;
        let from: Mailbox =
            from.trim().parse().map_err(|error| format!("mail.from: is no sender such as Pixgate <pixgate@example.com>: {error}"))?;
        let parameters =
            || TlsParameters::new(address.host.clone()).map_err(|error| format!("mail.smtp_url: TLS to {}: {error}", address.host));
        let tls = match address.tls {
            Tls::Implicit => TlsMode::Wrapper(parameters()?),
            Tls::StartTls => TlsMode::Required(parameters()?),
            Tls::Off => TlsMode::None,
        };
        let pool = PoolConfig::new().max_size(CONNECTIONS_MAX).idle_timeout(IDLE);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.host.clone())
            .port(address.port)
            .tls(tls)
            .timeout(Some(COMMAND_TIMEOUT))
            .pool_config(pool);
        if let Some((user, password)) = address.credentials {
            builder = builder.credentials(Credentials::new(user, password.expose().to_owned()));
        }
        Ok(Some(Self { transport: builder.build(), from, address: format!("{}:{}", address.host, address.port) }))
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a mail; answers with the server's words. `id` makes the Message-ID, so that a mail that is sent again can be told from
    /// another one.
    pub async fn send(&self, id: &str, to: &str, mail: Rendered, clock: &Clock) -> Result<String, SendError> {
        let message = self.compose(id, to, mail, clock)?;
        match tokio::time::timeout(SEND_TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(answer)) => Ok(shown(&format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")))),
            Ok(Err(error)) => {
                let about_us = error.status().is_some_and(|code| ABOUT_US.contains(&code.to_string().as_str()));
                let says = shown(&error.to_string());
                Err(if error.is_permanent() && !about_us { SendError::Refused(says) } else { SendError::Passing(says) })
            }
            Err(_) => Err(SendError::Passing(format!("no answer within {} s", SEND_TIMEOUT.as_secs()))),
        }
    }

    /// Connects, says hello and signs in, as for a mail.
    pub async fn probe(&self) -> Result<(), String> {
        match tokio::time::timeout(SEND_TIMEOUT, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the server is not ready for mails".to_owned()),
            Ok(Err(error)) => Err(shown(&error.to_string())),
            Err(_) => Err(format!("no answer within {} s", SEND_TIMEOUT.as_secs())),
        }
    }

    fn compose(&self, id: &str, to: &str, mail: Rendered, clock: &Clock) -> Result<Message, SendError> {
        let to: Address = to.parse().map_err(|error| SendError::Refused(format!("mail cannot be sent to this address: {error}")))?;
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .date(clock.wall())
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .map_err(|error| SendError::Refused(format!("the mail could not be put together: {error}")))
    }
}

/// What a server said, fit for a row and a page: one line, no key, not endless.
fn shown(text: &str) -> String {
    let line = scrub(&super::letter::one_line(text));
    line.chars().take(ANSWER_CHARS_MAX).collect()
}
