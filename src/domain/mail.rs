//! The mails Pixgate sends, as data. How they read is for `mail` to say, in every language it knows.

use serde::{Deserialize, Serialize};

use super::{SECOND, Timestamp};

/// Languages that mails are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Locale {
    #[default]
    En,
    Zh,
}

impl Locale {
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// The language for a tag such as `zh-CN`; English for those that no mail is written in.
    pub fn of(tag: &str) -> Self {
        match tag.split(['-', '_']).next() {
            Some(language) if language.eq_ignore_ascii_case("zh") => Self::Zh,
            _ => Self::En,
        }
    }
}

/// One mail. Links are whole URLs and carry their token; the message is sealed wherever it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    VerifyEmail {
        link: String,
    },
    /// Somebody registered with an address that has an account.
    AlreadyRegistered {
        link: String,
    },
    ResetPassword {
        link: String,
    },
    PasswordChanged {
        at: Timestamp,
        ip: Option<String>,
    },
    /// To the new address.
    ConfirmNewEmail {
        link: String,
    },
    /// To the old address; `new_email` is masked.
    EmailChanged {
        new_email: String,
    },
    NewSignIn {
        at: Timestamp,
        ip: Option<String>,
        user_agent: Option<String>,
    },
    SecondFactorChanged {
        enabled: bool,
    },
    /// A provider, such as GitHub, was linked or unlinked as a way to sign in.
    IdentityChanged {
        provider: String,
        linked: bool,
    },
    /// A code to confirm who one is, for example before data leaves.
    ConfirmationCode {
        code: String,
        purpose: String,
    },
    KeyLeaked {
        title: String,
        prefix: String,
        last4: String,
        found_at: Option<String>,
    },
    KeyIsWeak {
        title: String,
        prefix: String,
        expires_at: Option<Timestamp>,
    },
    TeamInvitation {
        account: String,
        inviter: String,
        role: String,
        link: String,
    },
    PrivacyRequest {
        request: String,
        link: String,
    },
    ExportReady {
        link: String,
        expires_at: Timestamp,
    },
    DeletionScheduled {
        due_at: Timestamp,
        link: String,
    },
    DeletionDone {
        completed_at: Timestamp,
        record: String,
    },
    PolicyChanged {
        document: String,
        version: String,
        effective_at: Timestamp,
        link: String,
    },
    AccountSuspended {
        reason: String,
    },
    AccountReinstated {},
    TicketReply {
        ticket_id: String,
        title: String,
        link: String,
    },
    /// To the staff: a customer opened a ticket or wrote to one.
    TicketForStaff {
        ticket_id: String,
        title: String,
        link: String,
    },
    LowBalance {
        available_micros: i64,
        link: String,
    },
}

impl Message {
    /// The word that the outbox shows.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::AlreadyRegistered { .. } => "already_registered",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged { .. } => "password_changed",
            Self::ConfirmNewEmail { .. } => "confirm_new_email",
            Self::EmailChanged { .. } => "email_changed",
            Self::NewSignIn { .. } => "new_sign_in",
            Self::SecondFactorChanged { .. } => "second_factor_changed",
            Self::IdentityChanged { .. } => "identity_changed",
            Self::ConfirmationCode { .. } => "confirmation_code",
            Self::KeyLeaked { .. } => "key_leaked",
            Self::KeyIsWeak { .. } => "key_is_weak",
            Self::TeamInvitation { .. } => "team_invitation",
            Self::PrivacyRequest { .. } => "privacy_request",
            Self::ExportReady { .. } => "export_ready",
            Self::DeletionScheduled { .. } => "deletion_scheduled",
            Self::DeletionDone { .. } => "deletion_done",
            Self::PolicyChanged { .. } => "policy_changed",
            Self::AccountSuspended { .. } => "account_suspended",
            Self::AccountReinstated {} => "account_reinstated",
            Self::TicketReply { .. } => "ticket_reply",
            Self::TicketForStaff { .. } => "ticket_for_staff",
            Self::LowBalance { .. } => "low_balance",
        }
    }

    /// The link a reader is to open, where there is one.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::VerifyEmail { link }
            | Self::AlreadyRegistered { link }
            | Self::ResetPassword { link }
            | Self::ConfirmNewEmail { link }
            | Self::TeamInvitation { link, .. }
            | Self::PrivacyRequest { link, .. }
            | Self::ExportReady { link, .. }
            | Self::DeletionScheduled { link, .. }
            | Self::PolicyChanged { link, .. }
            | Self::TicketReply { link, .. }
            | Self::TicketForStaff { link, .. }
            | Self::LowBalance { link, .. } => Some(link),
            _ => None,
        }
    }
}

impl Message {
    /// From when on the mail is not worth sending any more, because what it carries has ended.
    pub fn expires_at(&self, created_at: Timestamp) -> Timestamp {
        match self {
            Self::ResetPassword { .. } | Self::ConfirmationCode { .. } => created_at + 30 * MINUTE,
            Self::VerifyEmail { .. } | Self::ConfirmNewEmail { .. } | Self::AlreadyRegistered { .. } => created_at + 24 * HOUR,
            Self::ExportReady { expires_at, .. } => *expires_at,
            _ => created_at + 7 * 24 * HOUR,
        }
    }

    /// What its reader has to type in, where there is such a thing.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::ConfirmationCode { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// What became of a mail so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MailStatus {
    /// Waits for its first or next try.
    Pending,
    /// Was shown to the operator because no mail server is configured; is sent when there is one.
    Held,
    Sent,
    /// Given up; `last_error` says why.
    Dead,
}

/// Tries before a mail is given up.
pub const TRIES_MAX: u32 = 8;
/// Before the second try. Each later pause is three times the one before, so the last try comes about a day after the first.
const FIRST_PAUSE: Timestamp = 80 * SECOND;
const MINUTE: Timestamp = 60 * SECOND;
const HOUR: Timestamp = 60 * MINUTE;

/// The pause behind the `tries`th failed try, give or take a tenth by `random`; `None` when that was the last one.
pub fn retry_pause(tries: u32, random: u8) -> Option<Timestamp> {
    if tries >= TRIES_MAX {
        return None;
    }
    let pause = FIRST_PAUSE * 3_i64.pow(tries.saturating_sub(1));
    // 0.9 to 1.1 of it, so that mails that failed together do not come back together.
    Some(pause / 10 * 9 + pause / 5 * i64::from(random) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_tag() {
        let message = Message::VerifyEmail { link: "https://pix.example/verify?token=t".to_owned() };
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json["kind"], message.kind());
        assert_eq!(serde_json::from_value::<Message>(json).unwrap(), message);
    }

    #[test]
    fn tags_of_unknown_languages_mean_english() {
        assert_eq!(["zh", "zh-CN", "ZH_tw", "en-GB", "fr", ""].map(|tag| Locale::of(tag).as_str()), ["zh", "zh", "zh", "en", "en", "en"]);
    }

    #[test]
    fn retries_spread_over_about_a_day() {
        let total = |random| (1..TRIES_MAX).map(|tries| retry_pause(tries, random).unwrap()).sum::<Timestamp>();
        assert!(total(0) > 21 * HOUR && total(255) < 28 * HOUR, "{} {}", total(0), total(255));
        assert_eq!(retry_pause(1, 0), Some(72 * SECOND));
        assert_eq!(retry_pause(TRIES_MAX, 0), None);
    }
}
