//! Throttles of everything that people may ask for without being signed in.

use std::time::Duration;

use super::Visitor;
use crate::{
    actors::throttle::{Rule, Throttle},
    clock::Clock,
    domain::refusal::{LimitScope, Refusal},
};

/// How often what may be tried. A burst of 0 switches a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardRules {
    /// Requests of one address to all routes without sign-in, per minute.
    pub requests_per_ip_minute: u32,
    /// Sign-ups of one address, per day.
    pub sign_ups_per_ip_day: u32,
    /// Wrong passwords for one mail address from one network address, at once; then one every few seconds.
    pub failures_at_once: u32,
    /// Mails to one address, per hour, that one network address asks for.
    pub mails_per_address_hour: u32,
    /// Keys of one account, per hour.
    pub keys_per_account_hour: u32,
}

/// The throttles. Clones share them.
#[derive(Clone)]
pub struct Guard {
    requests: Throttle,
    sign_ups: Throttle,
    failures: Throttle,
    known_devices: Throttle,
    everywhere: Throttle,
    mails: Throttle,
    mails_of_visitors: Throttle,
    mails_of_known_devices: Throttle,
    keys: Throttle,
    codes: Throttle,
}

/// Network addresses that together use up what one mail address may be sent.
const MAIL_ASKERS: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// Codes of a second factor for one account, at once; then one in the time below. Whoever tries codes knows the password already.
const CODES_AT_ONCE: u32 = 10;
const CODE_EVERY: Duration = Duration::from_secs(10 * 60);
/// After the first tries a guesser gets one in this time, and an owner waits no longer.
const TRY_EVERY: Duration = Duration::from_secs(5);

impl Guard {
    pub fn new(rules: GuardRules, clock: &Clock) -> Self {
        let throttle = |burst: u32, period: Duration| Throttle::new(Rule { burst, every: period / burst.max(1) }, clock);
        let tries = |burst: u32| Throttle::new(Rule { burst, every: TRY_EVERY }, clock);
        Self {
            requests: throttle(rules.requests_per_ip_minute, MINUTE),
            sign_ups: throttle(rules.sign_ups_per_ip_day, MINUTE * 60 * 24),
            failures: tries(rules.failures_at_once),
            known_devices: tries(rules.failures_at_once),
            everywhere: Throttle::new(Rule { burst: rules.failures_at_once.saturating_mul(10), every: Duration::from_secs(1) }, clock),
            mails: throttle(rules.mails_per_address_hour.saturating_mul(MAIL_ASKERS), MINUTE * 60),
            mails_of_visitors: throttle(rules.mails_per_address_hour, MINUTE * 60),
            mails_of_known_devices: throttle(rules.mails_per_address_hour, MINUTE * 60),
            keys: throttle(rules.keys_per_account_hour, MINUTE * 60),
            codes: Throttle::new(Rule { burst: CODES_AT_ONCE, every: CODE_EVERY }, clock),
        }
    }

    /// Any request of somebody who is not signed in.
    pub fn request(&self, visitor: &Visitor) -> Result<(), Refusal> {
        refuse(self.requests.check(&ip(visitor)), LimitScope::Ip, "requests to sign-in routes")
    }

    pub fn sign_up(&self, visitor: &Visitor) -> Result<(), Refusal> {
        refuse(self.sign_ups.check(&ip(visitor)), LimitScope::Ip, "sign-ups")
    }

    /// One try at the password of `address`. A browser that signed in before has tries of its own:
    /// whoever guesses elsewhere cannot keep the owner out of it. A new browser waits its turn with the guessers.
    pub fn password(&self, address: &str, visitor: &Visitor, is_known_device: bool) -> Result<(), Refusal> {
        let what = "sign-ins with this address";
        if is_known_device {
            let device = visitor.device.as_deref().unwrap_or_default();
            return refuse(self.known_devices.check(&format!("{address} {device}")), LimitScope::Account, what);
        }
        refuse(self.failures.check(&format!("{address} {}", ip(visitor))), LimitScope::Account, what)?;
        refuse(self.everywhere.check(address), LimitScope::Account, what)
    }

    /// One mail to `address`, known or not, that somebody asks for who is not signed in. Whoever has the owner's inbox filled from
    /// elsewhere cannot keep the owner from a reset: a browser that signed in before is counted by itself.
    pub fn requested_mail(&self, address: &str, visitor: &Visitor, is_known_device: bool) -> Result<(), Refusal> {
        const WHAT: &str = "mails to this address";
        if is_known_device {
            return refuse(self.mails_of_known_devices.check(address), LimitScope::Account, WHAT);
        }
        refuse(self.mails_of_visitors.check(&format!("{address} {}", ip(visitor))), LimitScope::Account, WHAT)?;
        refuse(self.mails.check(address), LimitScope::Account, WHAT)
    }

    /// One try at the second factor of an account from a browser that never signed in to it: a million codes, three of them right at any time.
    pub fn second_factor(&self, account_id: &str, is_known_device: bool) -> Result<(), Refusal> {
        if is_known_device {
            return Ok(());
        }
        refuse(self.codes.check(account_id), LimitScope::Account, "codes of the second factor from new browsers")
    }

    /// One more key of an account.
    pub fn key(&self, account_id: &str) -> Result<(), Refusal> {
        refuse(self.keys.check(account_id), LimitScope::Account, "new keys of this account")
    }

    /// One mail to `address`, known or not, that somebody asks for who is signed in as `account_id`.
    pub fn mail_from(&self, account_id: &str, address: &str) -> Result<(), Refusal> {
        refuse(self.mails_of_visitors.check(&format!("{address} {account_id}")), LimitScope::Account, "mails to this address")
    }
}

fn ip(visitor: &Visitor) -> String {
    network(visitor.ip)
}

/// What requests from an address are counted under.
pub(in crate::control) fn network(ip: Option<std::net::IpAddr>) -> String {
    match ip {
        // One customer of a provider has a whole network of these.
        Some(std::net::IpAddr::V6(ip)) => ip.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
        Some(ip) => ip.to_string(),
        None => "unknown".to_owned(),
    }
}

fn refuse(outcome: Result<(), u64>, scope: LimitScope, what: &'static str) -> Result<(), Refusal> {
    outcome.map_err(|retry_after_ms| Refusal::Throttled { what, scope, retry_after_ms })
}
