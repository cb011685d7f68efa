//! Every mail in every language, as its reader gets it.

use super::*;

const URL: &str = "https://pix.example";
const NASTY: &str = "<script>alert(1)</script>\r\nhttp://evil.example/\u{202e} \"'&";

fn link() -> String {
    format!("{URL}/open?token=t0k3n&x=1")
}

/// One of each. The match has no wildcard, so that a new message is missed at compile time.
fn samples() -> Vec<Message> {
    let (at, nasty) = (1_752_580_800_000_000, NASTY.to_owned());
    let all = vec![
        Message::VerifyEmail { link: link() },
        Message::AlreadyRegistered { link: link() },
        Message::ResetPassword { link: link() },
        Message::PasswordChanged { at, ip: Some(nasty.clone()) },
        Message::ConfirmNewEmail { link: link() },
        Message::EmailChanged { new_email: nasty.clone() },
        Message::NewSignIn { at, ip: None, user_agent: Some(nasty.clone()) },
        Message::SecondFactorChanged { enabled: true },
        Message::SecondFactorChanged { enabled: false },
        Message::ConfirmationCode { code: "123456".to_owned(), purpose: nasty.clone() },
        Message::KeyLeaked {
            title: nasty.clone(),
            prefix: "px_live_ab".to_owned(),
            last4: "wxyz".to_owned(),
            found_at: Some(nasty.clone()),
        },
        Message::KeyIsWeak { title: nasty.clone(), prefix: "sk-old".to_owned(), expires_at: Some(at) },
        Message::TeamInvitation { account: nasty.clone(), inviter: nasty.clone(), role: "member".to_owned(), link: link() },
        Message::PrivacyRequest { request: nasty.clone(), link: link() },
        Message::ExportReady { link: link(), expires_at: at },
        Message::DeletionScheduled { due_at: at, link: link() },
        Message::DeletionDone { completed_at: at, record: "prv_1".to_owned() },
        Message::PolicyChanged { document: nasty.clone(), version: "2".to_owned(), effective_at: at, link: link() },
        Message::AccountSuspended { reason: nasty.clone() },
        Message::AccountReinstated {},
        Message::TicketReply { ticket_id: "tkt_1".to_owned(), title: nasty.clone(), link: link() },
        Message::TicketForStaff { ticket_id: "tkt_1".to_owned(), title: nasty, link: link() },
        Message::LowBalance { available_micros: 1_500_000, link: link() },
        Message::IdentityChanged { provider: "GitHub".to_owned(), linked: true },
        Message::IdentityChanged { provider: "GitHub".to_owned(), linked: false },
    ];
    let number = |message: &Message| match message {
        Message::VerifyEmail { .. } => 0,
        Message::AlreadyRegistered { .. } => 1,
        Message::ResetPassword { .. } => 2,
        Message::PasswordChanged { .. } => 3,
        Message::ConfirmNewEmail { .. } => 4,
        Message::EmailChanged { .. } => 5,
        Message::NewSignIn { .. } => 6,
        Message::SecondFactorChanged { .. } => 7,
        Message::ConfirmationCode { .. } => 8,
        Message::KeyLeaked { .. } => 9,
        Message::KeyIsWeak { .. } => 10,
        Message::TeamInvitation { .. } => 11,
        Message::PrivacyRequest { .. } => 12,
        Message::ExportReady { .. } => 13,
        Message::DeletionScheduled { .. } => 14,
        Message::DeletionDone { .. } => 15,
        Message::PolicyChanged { .. } => 16,
        Message::AccountSuspended { .. } => 17,
        Message::AccountReinstated {} => 18,
        Message::TicketReply { .. } => 19,
        Message::TicketForStaff { .. } => 20,
        Message::LowBalance { .. } => 21,
        Message::IdentityChanged { .. } => 22,
    };
    let mut numbers: Vec<i32> = all.iter().map(number).collect();
    numbers.dedup();
    assert_eq!(numbers, (0..=22).collect::<Vec<_>>(), "one sample of each message");
    all
}

#[test]
fn every_mail_reads_well_in_every_language() {
    for message in samples() {
        let mut subjects = Vec::new();
        for locale in Locale::ALL {
            let Rendered { subject, text, html } = render(&message, locale, URL).unwrap();
            let what = format!("{} in {}:\n{subject}\n{text}\n{html}", message.kind(), locale.as_str());
            assert!(!subject.trim().is_empty() && !subject.contains(['\r', '\n']), "{what}");
            assert!(text.lines().next().is_some_and(|line| !line.trim().is_empty()), "{what}");
            assert!(
                html.starts_with("<!DOCTYPE html>") && html.contains(&format!("<h1 style=\"font-size:22px;line-height:1.3\">{}", subject)),
                "{what}"
            );
            for forbidden in ["<script", "<img", "\u{202e}", "{{", "{%"] {
                assert!(!html.contains(forbidden), "{forbidden} in {what}");
            }
            assert!(!text.contains('\u{202e}') && !text.contains("\n\n\n"), "{what}");
            if let Some(link) = message.link() {
                let first = text.find("http").map(|at| text[at..].split_whitespace().next().unwrap());
                assert_eq!(first, Some(link), "{what}");
                assert!(html.contains("href=\"https://pix.example/open?token=t0k3n&#38;x=1\""), "{what}");
            }
            if let Some(code) = message.code() {
                assert!(text.contains(code) && html.contains(code), "{what}");
            }
            assert_eq!(text.is_ascii(), locale == Locale::En, "{what}");
            subjects.push((subject, text));
        }
        assert!(subjects[0].0 != subjects[1].0 && subjects[0].1 != subjects[1].1, "{}", message.kind());
    }
}

#[test]
fn times_are_for_people() {
    let message = Message::DeletionScheduled { due_at: 1_752_580_800_000_000, link: link() };
    let text = |locale| render(&message, locale, URL).unwrap().text;
    assert!(text(Locale::En).contains("Deleted on: 15 July 2025, 12:00 UTC"), "{}", text(Locale::En));
    assert!(text(Locale::Zh).contains("删除时间：2025年7月15日 12:00（UTC）"), "{}", text(Locale::Zh));
}

#[test]
fn texts_of_users_stay_on_one_line() {
    assert_eq!(letter::one_line(" a\r\nb\t\u{202e}c\0 "), "a b c");
    assert_eq!(letter::one_line(&"字".repeat(400)).chars().count(), 301);
}
