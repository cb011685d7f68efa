//! Mails as part of use cases: a mail is written with its cause, and sent by the mailer, which is told of it afterwards by
//! [`MailerClient::nudge`](crate::actors::mailer::MailerClient::nudge).

use super::Control;
use crate::{
    domain::{
        account::Account,
        mail::{Locale, Message},
    },
    store::outbox::NewMail,
};

/// A mail to an account's own address, in its language.
pub fn to_account(control: &Control, account: &Account, message: Message) -> NewMail {
    to_address(control, Some(&account.id), &account.email, Locale::of(&account.locale), message)
}

/// A mail to an address that may belong to nobody.
pub fn to_address(control: &Control, account_id: Option<&str>, email: &str, locale: Locale, message: Message) -> NewMail {
    NewMail {
        id: control.clock.new_id("mail"),
        account_id: account_id.map(str::to_owned),
        recipient: email.to_owned(),
        locale,
        message,
        created_at: control.clock.now(),
    }
}
