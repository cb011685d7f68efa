//! People: how they join, sign in, prove an address, change their secrets, and what guards all of that.
//!
//! Answers to people who are not signed in are the same, and take the same time, whether an address is known or not. Absent on
//! purpose: keys (see `control::keys`), who may act for a team (see `control::owner`), how mails read (see `mail`).

mod domains;
pub(super) mod guard;
mod identities;
mod image;
mod profile;
mod register;
mod reset;
mod second_factor;
mod sessions;
mod sign_in;

use std::{net::IpAddr, sync::Arc};

use subtle::ConstantTimeEq;

pub(in crate::control) use self::sign_in::{admit, confirm_mail_code, mail_code_digest};
pub use self::{
    domains::{BlockedDomain, NewBlockedDomain, add_domain, list_domains, remove_domain},
    guard::{Guard, GuardRules},
    identities::{
        BeginSignIn, Begun, Finished, Return, begin_link, begin_sign_in, finish_second_factor, finish_sign_in, list_identities,
        unlink_identity,
    },
    image::{IMAGE_BYTES_MAX, read_image, remove_image, set_image},
    profile::{ProfilePatch, Profiled, confirm_email, patch_profile},
    register::{Registration, register, resend_verification, verify},
    reset::{Reset, forgot, reset},
    second_factor::{Enrolment, Proof, confirm_totp, enroll_totp, has_second_factor, new_recovery_codes, remove_totp},
    sessions::{end_others, end_session, get_sign_up, list_sessions, security_events},
    sign_in::{SignIn, SignedIn, confirm_identity, confirm_owner, sign_in},
};

use super::{Control, passwords::Passwords, sign_in::digest};
use crate::{
    clock::fill_random,
    domain::{
        Timestamp,
        api_key::{self, Digest},
        refusal::Refusal,
    },
    identity::IdentityProviders,
    store::security::SecurityEvent,
};

/// 256 bits in base62.
const TOKEN_LENGTH: usize = 43;
const USER_AGENT_CHARS_MAX: usize = 300;

/// What people's use cases work with. Shared by all threads.
#[derive(Clone)]
pub struct People {
    pub passwords: Passwords,
    pub guard: Guard,
    pub policy: Arc<PeoplePolicy>,
    /// Others whose sign-in is taken.
    pub providers: IdentityProviders,
}

/// How the operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeoplePolicy {
    pub sign_up_open: bool,
    pub block_disposable: bool,
    /// 0 when no age is asked for.
    pub age_min_years: u32,
    pub session_life: Timestamp,
    pub session_idle: Timestamp,
}

/// Where somebody who is not signed in asks from.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    /// Proves that the address of this digest signed in from this browser before.
    pub device: Option<String>,
}

impl Visitor {
    pub fn ip_text(&self) -> Option<String> {
        self.ip.map(|ip| ip.to_string())
    }

    pub fn user_agent(&self) -> Option<String> {
        let text: String = self.user_agent.as_deref()?.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect();
        Some(text).filter(|text| !text.is_empty())
    }
}

/// What the browser of somebody who signed in with this address keeps. It opens nothing; throttles count such a browser by itself.
fn device_of(control: &Control, email: &str) -> String {
    digest(control, &format!("device {email}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_known_device(control: &Control, visitor: &Visitor, email: &str) -> bool {
    visitor.device.as_deref().is_some_and(|device| device.as_bytes().ct_eq(device_of(control, email).as_bytes()).into())
}

/// Counts one mail to `email` that a visitor asks for.
pub(in crate::control) fn guard_mail(control: &Control, visitor: &Visitor, email: &str) -> Result<(), Refusal> {
    control.people.guard.requested_mail(email, visitor, is_known_device(control, visitor, email))
}

fn new_token(control: &Control) -> (String, Digest) {
    let token = api_key::base62(TOKEN_LENGTH, fill_random);
    let digest = digest(control, &token);
    (token, digest)
}

fn event(control: &Control, account_id: Option<&str>, what: &str, visitor: &Visitor) -> SecurityEvent {
    SecurityEvent {
        id: control.clock.new_id("sev"),
        account_id: account_id.map(str::to_owned),
        event: what.to_owned(),
        ip: visitor.ip_text(),
        user_agent: visitor.user_agent(),
        created_at: control.clock.now(),
    }
}
