//! The URL of the server that takes our mails.

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::telemetry::redact::Secret;

const PORT_PLAIN: u16 = 25;
const PORT_STARTTLS: u16 = 587;
const PORT_TLS: u16 = 465;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// STARTTLS; a server that does not offer it gets nothing.
    StartTls,
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpAddress {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
}

impl SmtpAddress {
    /// Reads `smtp://[user:password@]host[:port][?tls=none|starttls]` or `smtps://…`. The message of an error shows nothing of the URL.
    pub fn parse(url: &Secret) -> Result<Self, String> {
        let wrong = || "must be a URL that begins with smtp:// or smtps://, such as smtp://user:password@mail.example.com:587".to_owned();
        let uri: Uri = url.expose().trim().parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        if !matches!(uri.path(), "" | "/") {
            return Err("must have no path behind the host".to_owned());
        }
        let local = is_loopback(&host);
        let tls = match (uri.scheme_str(), uri.query()) {
            (Some("smtps"), None) => Tls::Implicit,
            (Some("smtp"), None) => {
                if local {
                    Tls::Off
                } else {
                    Tls::StartTls
                }
            }
            (Some("smtp"), Some("tls=none")) => Tls::Off,
            (Some("smtp"), Some("tls=starttls")) => Tls::StartTls,
            (Some("smtp" | "smtps"), Some(_)) => {
                return Err("knows nothing behind its ? but smtp://…?tls=none and smtp://…?tls=starttls".to_owned());
            }
            _ => return Err(wrong()),
        };
        let port = uri.port_u16().unwrap_or(match tls {
            Tls::Implicit => PORT_TLS,
            Tls::StartTls => PORT_STARTTLS,
            Tls::Off => PORT_PLAIN,
        });
        let user_info = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user_info, _)| user_info);
        Ok(Self { host, port, tls, credentials: user_info.map(credentials).transpose()? })
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn credentials(user_info: &str) -> Result<(String, Secret), String> {
    let (user, password) = user_info.split_once(':').ok_or("has a user without a password; write smtp://user:password@host")?;
    let decoded = |part: &str| {
        let text = percent_decode_str(part).decode_utf8().map_err(|_| "has a user or password that is not UTF-8".to_owned())?;
        Ok::<_, String>(text.into_owned())
    };
    Ok((decoded(user)?, Secret::new(decoded(password)?)))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<SmtpAddress, String> {
        SmtpAddress::parse(&Secret::new(url))
    }

    #[test]
    fn what_the_scheme_means() {
        for (url, host, port, tls) in [
            ("smtp://mail.example.com", "mail.example.com", 587, Tls::StartTls),
            ("smtp://mail.example.com:2525/", "mail.example.com", 2525, Tls::StartTls),
            ("smtp://mail.example.com?tls=none", "mail.example.com", 25, Tls::Off),
            ("smtps://mail.example.com", "mail.example.com", 465, Tls::Implicit),
            ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, Tls::Off),
            ("smtp://localhost", "localhost", 25, Tls::Off),
            ("smtp://[::1]:1025", "::1", 1025, Tls::Off),
            ("smtp://localhost?tls=starttls", "localhost", 587, Tls::StartTls),
        ] {
            assert_eq!(parse(url), Ok(SmtpAddress { host: host.to_owned(), port, tls, credentials: None }), "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let address = parse("smtps://me%40example.com:p%2Fw%3A1@mail.example.com").unwrap();
        assert_eq!(address.credentials, Some(("me@example.com".to_owned(), Secret::new("p/w:1"))));
        assert!(!format!("{address:?}").contains("p/w"));
        for bad in [
            "http://hunter2@h",
            "smtp://",
            "hunter2",
            "smtp://me:hunter2@h/path",
            "smtp://hunter2@h",
            "smtps://h?tls=none",
            "smtp://h?hunter2",
        ] {
            let message = parse(bad).unwrap_err();
            assert!(!message.contains("hunter2"), "{bad}: {message}");
        }
    }
}
