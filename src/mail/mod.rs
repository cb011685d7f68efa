//! Mails: how they read, in every language ([`render`]), and the way to the server that takes them ([`smtp`]).
//!
//! Words are in one file a language, form in `templates/mail`. What a user wrote stands behind the link, never before it, so that the
//! first link of a text is always ours; programs and careful readers rely on it.
//! Absent on purpose: when a mail is sent and what becomes of it (see `actors::mailer`), storing (see `store::outbox`).

mod chinese;
mod english;
mod letter;
pub mod smtp;

#[cfg(test)]
mod tests;

use askama::Template;

use self::letter::Letter;
use crate::domain::mail::{Locale, Message};

/// A mail that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Text<'a> {
    letter: &'a Letter,
    colon: &'a str,
    signature: &'a str,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    letter: &'a Letter,
    language: &'a str,
    signature: &'a str,
}

/// Puts a message into words. `public_url` is where this gateway is, for the signature.
pub fn render(message: &Message, locale: Locale, public_url: &str) -> Result<Rendered, String> {
    let letter = match locale {
        Locale::En => english::letter(message),
        Locale::Zh => chinese::letter(message),
    };
    form(&letter, locale, public_url)
}

/// The mail by which an admin tries the settings.
pub fn render_test(locale: Locale, public_url: &str) -> Result<Rendered, String> {
    let letter = match locale {
        Locale::En => english::test(),
        Locale::Zh => chinese::test(),
    };
    form(&letter, locale, public_url)
}

fn form(letter: &Letter, locale: Locale, public_url: &str) -> Result<Rendered, String> {
    let (language, colon, signature) = match locale {
        Locale::En => ("en", ": ", english::signature(public_url)),
        Locale::Zh => ("zh-CN", "：", chinese::signature(public_url)),
    };
    let failed = |error: askama::Error| format!("the mail could not be written: {error}");
    Ok(Rendered {
        subject: letter.subject.clone(),
        text: Text { letter, colon, signature: &signature }.render().map_err(failed)?,
        html: Html { letter, language, signature: &signature }.render().map_err(failed)?,
    })
}
