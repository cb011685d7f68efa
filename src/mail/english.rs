//! Every mail in English. ASCII only, so that the text goes over the wire as it stands here.

use super::letter::{Letter, moment, one_line};
use crate::{
    dialect::credits_text,
    domain::{Timestamp, mail::Message},
};

const NOT_YOU: &str = "If this was not you, reset your password now and sign out all sessions.";
const IGNORE: &str = "If you did not ask for this, you can ignore this mail; nothing changes.";
const ONCE: &str = "The link works once and only for a limited time. Do not pass it on.";

pub fn signature(public_url: &str) -> String {
    format!("This mail was sent automatically by the Pixgate at {public_url}. Answers to it are not read.")
}

pub fn test() -> Letter {
    Letter::new("Test mail from Pixgate", "An admin sent this mail to try the mail settings. If you can read it, they work.")
}

fn time(at: Timestamp) -> String {
    moment(at, "%-d %B %Y, %H:%M UTC")
}

/// One arm a mail: a table of words, which a split would only make harder to read.
pub fn letter(message: &Message) -> Letter {
    match message {
        Message::VerifyEmail { link } => {
            let lead = "Welcome to Pixgate. Confirm that this address is yours to start using your account.";
            Letter::new("Confirm your e-mail address", lead).link("Confirm the address", link).note(ONCE).note(IGNORE)
        }
        Message::AlreadyRegistered { link } => {
            let lead =
                "Somebody tried to register with this address, but you already have an account. You can sign in or reset your password.";
            Letter::new("You already have an account", lead).link("Go to your account", link).note(IGNORE)
        }
        Message::ResetPassword { link } => {
            let lead = "You asked to set a new password for your account. All sessions end when you do.";
            Letter::new("Reset your password", lead).link("Choose a new password", link).note(ONCE).note(IGNORE)
        }
        Message::PasswordChanged { at, ip } => Letter::new("Your password was changed", "The password of your account was changed.")
            .fact("Time", &time(*at))
            .fact_if("IP address", ip.as_deref())
            .note(NOT_YOU),
        Message::ConfirmNewEmail { link } => {
            let lead = "You asked to use this address for your account. Confirm it to complete the change.";
            Letter::new("Confirm your new e-mail address", lead).link("Confirm the new address", link).note(ONCE).note(IGNORE)
        }
        Message::EmailChanged { new_email } => {
            let lead = "The e-mail address of your account was changed. Mails go to the new address from now on.";
            let note = "If this was not you, contact the operator of this service at once.";
            Letter::new("Your e-mail address was changed", lead).fact("New address", new_email).note(note)
        }
        Message::NewSignIn { at, ip, user_agent } => {
            Letter::new("New sign-in to your account", "Somebody signed in to your account from a place or device not seen before.")
                .fact("Time", &time(*at))
                .fact_if("IP address", ip.as_deref())
                .fact_if("Browser", user_agent.as_deref())
                .note("If this was you, there is nothing to do.")
                .note(NOT_YOU)
        }
        Message::SecondFactorChanged { enabled: true } => {
            let lead = "A second factor now protects your account. Keep your recovery codes in a safe place.";
            Letter::new("Second factor turned on", lead).note(NOT_YOU)
        }
        Message::SecondFactorChanged { enabled: false } => {
            let lead = "The second factor of your account was turned off. Your password alone signs you in now.";
            Letter::new("Second factor turned off", lead).note(NOT_YOU)
        }
        Message::IdentityChanged { provider, linked: true } => {
            let lead = "Another way to sign in was linked to your account. It opens your account without your password.";
            Letter::new("New way to sign in", lead).fact("Provider", provider).note(NOT_YOU)
        }
        Message::IdentityChanged { provider, linked: false } => {
            let lead = "A way to sign in was unlinked from your account. It does not open your account any more.";
            Letter::new("Way to sign in removed", lead).fact("Provider", provider).note(NOT_YOU)
        }
        Message::ConfirmationCode { code, purpose } => {
            let lead = "Use this code to confirm that it is you. Nobody of us will ever ask you for it.";
            Letter::new("Your confirmation code", lead)
                .fact("Code", code)
                .fact("For", purpose)
                .note("The code works only for a short time.")
                .note(IGNORE)
        }
        Message::KeyLeaked { title, prefix, last4, found_at } => {
            let lead = "One of your API keys was found in a public place. It has been revoked and no longer works. Create a new key where you \
                need one.";
            Letter::new("One of your API keys has leaked", lead)
                .fact("Key", title)
                .fact("Begins with", prefix)
                .fact("Ends with", last4)
                .fact_if("Found at", found_at.as_deref())
        }
        Message::KeyIsWeak { title, prefix, expires_at } => {
            let lead = "One of your API keys is of an old or weak kind. Replace it with a new one soon.";
            let until = expires_at.map(time);
            Letter::new("Replace one of your API keys", lead)
                .fact("Key", title)
                .fact("Begins with", prefix)
                .fact_if("Works until", until.as_deref())
        }
        Message::TeamInvitation { account, inviter, role, link } => {
            let lead = "You are invited to work with an account on Pixgate. Look at who invites you before you accept.";
            Letter::new("Invitation to an account", lead)
                .link("See the invitation", link)
                .fact("Account", account)
                .fact("Invited by", inviter)
                .fact("Role", role)
                .note(ONCE)
                .note(IGNORE)
        }
        Message::PrivacyRequest { request, link } => {
            let lead =
                "We received a request about the personal data of this address. Confirm that it came from you, or it will not be done.";
            Letter::new("Confirm your privacy request", lead)
                .link("Confirm the request", link)
                .fact("Request", request)
                .note(ONCE)
                .note(IGNORE)
        }
        Message::ExportReady { link, expires_at } => {
            Letter::new("Your data is ready", "The copy of your data that you asked for is ready.")
                .link("Download the data", link)
                .fact("Available until", &time(*expires_at))
                .note("Do not pass the link on: it leads to personal data.")
        }
        Message::DeletionScheduled { due_at, link } => {
            let lead = "Your account and its data will be deleted. Until then you can change your mind.";
            Letter::new("Your account will be deleted", lead).link("Keep the account", link).fact("Deleted on", &time(*due_at))
        }
        Message::DeletionDone { completed_at, record } => {
            let lead = "Your account and its data were deleted. Keep the number below: it proves the deletion.";
            Letter::new("Your account was deleted", lead).fact("Completed", &time(*completed_at)).fact("Record", record)
        }
        Message::PolicyChanged { document, version, effective_at, link } => {
            Letter::new("Our terms change", "A document that you agreed to has a new version.")
                .link("Read the new version", link)
                .fact("Document", document)
                .fact("Version", version)
                .fact("In force from", &time(*effective_at))
        }
        Message::AccountSuspended { reason } => {
            let lead = "Your account was suspended. Its API keys are refused until it is reinstated.";
            let reason = one_line(reason);
            let letter = Letter::new("Your account was suspended", lead);
            if reason.is_empty() { letter } else { letter.fact("Reason", &reason) }
        }
        Message::AccountReinstated {} => {
            Letter::new("Your account was reinstated", "Your account was reinstated. Its API keys work again.")
        }
        Message::TicketReply { ticket_id, title, link } => Letter::new("New reply to your ticket", "There is a new reply to your ticket.")
            .link("Read the reply", link)
            .fact("Ticket", ticket_id)
            .fact("Title", title),
        Message::TicketForStaff { ticket_id, title, link } => Letter::new("A customer wrote to a ticket", "A customer wrote to a ticket.")
            .link("Read the ticket", link)
            .fact("Ticket", ticket_id)
            .fact("Title", title),
        Message::LowBalance { available_micros, link } => {
            let lead = "Your credits are running low. Calls are refused once they are used up.";
            Letter::new("Your credits are running low", lead)
                .link("Add credits", link)
                .fact("Credits left", &credits_text(*available_micros))
        }
    }
}
