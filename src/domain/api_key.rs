//! API keys: their text form, what a key may do, and the record kept of one.
//!
//! Text form: `px_live_` or `px_test_` + 10 characters account locator + 32 characters secret + 6 characters CRC-32 of the
//! 42 before it, all base62. The checksum only tells typos from keys; the secret is 190 bits.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Micros, SECOND, Timestamp, quota::Limits};

pub const LOCATOR_LENGTH: usize = 10;
pub const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;

/// Longest key of another shape that is looked up at all.
pub const FOREIGN_LENGTH_MAX: usize = 512;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DAY: Timestamp = 24 * 60 * 60 * SECOND;

/// Keyed hash of a key's whole text (HMAC-SHA256 under the pepper).
pub type Digest = [u8; 32];

/// Which of our prefixes a key carries. Both kinds work alike; the prefix lets owners and secret scanners tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Live,
    Test,
}

impl KeyKind {
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Live => "px_live_",
            Self::Test => "px_test_",
        }
    }

    /// The kind a text claims to be by its prefix, and what follows the prefix.
    fn strip(text: &str) -> Option<(Self, &str)> {
        [Self::Live, Self::Test].into_iter().find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
    }
}

/// The public part of a well-formed key. It proves nothing yet: only the digest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub kind: KeyKind,
    /// Names the account, [`LOCATOR_LENGTH`] base62 characters.
    pub locator: &'a str,
}

/// The text cannot be a key: mistyped, cut off, or not printable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a complete API key")]
pub struct Malformed;

/// Where to look a presented key up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// One of ours: its locator names the account.
    Standard(Parsed<'a>),
    /// Imported or bootstrapped: only the digest index knows it.
    Foreign,
}

impl<'a> Shape<'a> {
    /// A text with our prefix is ours or malformed, never foreign; anything else must be 1 to 512 visible ASCII characters.
    pub fn of(text: &'a str) -> Result<Self, Malformed> {
        if KeyKind::strip(text).is_some() {
            return parse(text).map(Self::Standard);
        }
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if printable && (1..=FOREIGN_LENGTH_MAX).contains(&text.len()) { Ok(Self::Foreign) } else { Err(Malformed) }
    }
}

/// Writes a key. `locator` and `secret` are base62 texts of their fixed lengths, see [`base62`].
pub fn compose(kind: KeyKind, locator: &str, secret: &str) -> String {
    debug_assert!(locator.len() == LOCATOR_LENGTH && secret.len() == SECRET_LENGTH, "parts of a key have fixed lengths");
    let prefix = kind.prefix();
    // Exactly sized: a growing buffer would leave copies of the secret behind.
    let mut text = String::with_capacity(prefix.len() + locator.len() + secret.len() + CHECKSUM_LENGTH);
    text.push_str(prefix);
    text.push_str(locator);
    text.push_str(secret);
    let checksum = checksum(&text.as_bytes()[prefix.len()..]);
    text.extend(checksum.map(char::from));
    text
}

/// Reads a key of our own shape.
pub fn parse(text: &str) -> Result<Parsed<'_>, Malformed> {
    let (kind, rest) = KeyKind::strip(text).ok_or(Malformed)?;
    let whole = rest.len() == LOCATOR_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH;
    if !whole || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Malformed);
    }
    let (body, sum) = rest.split_at(LOCATOR_LENGTH + SECRET_LENGTH);
    if checksum(body.as_bytes()) != sum.as_bytes() {
        return Err(Malformed);
    }
    Ok(Parsed { kind, locator: &body[..LOCATOR_LENGTH] })
}

/// `length` base62 characters, each equally likely when `fill` supplies uniformly random bytes.
pub fn base62(length: usize, mut fill: impl FnMut(&mut [u8])) -> String {
    // 62 does not divide 256: bytes past the last whole multiple are dropped, or the first characters would be likelier.
    const ACCEPTED: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut bytes = [0u8; 64];
    while text.len() < length {
        fill(&mut bytes);
        let digits = bytes.iter().filter(|byte| **byte < ACCEPTED).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        text.extend(digits.take(length - text.len()));
    }
    bytes.zeroize();
    text
}

/// CRC-32 (IEEE) as base62, most significant digit first, padded with `0`.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Model calls and what a key may know about itself.
    Inference,
    /// The owner's account API.
    Account,
    /// The admin API.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Account => "account",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// UTC day.
    Day,
    /// UTC calendar month.
    Month,
    /// The key's whole life.
    Total,
}

impl BudgetPeriod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// When the period that `now` lies in began; 0 for `Total`. A new start means a fresh budget.
    pub fn started_at(self, now: Timestamp) -> Timestamp {
        let day = now.div_euclid(DAY) * DAY;
        match self {
            Self::Day => day,
            Self::Month => day - (day_of_month(now) - 1) * DAY,
            Self::Total => 0,
        }
    }
}

/// 1 to 31, in UTC. Moments outside the calendar's years (-9999 to 9999) count as its first or last.
fn day_of_month(now: Timestamp) -> i64 {
    let (first, last) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
    let moment = jiff::Timestamp::from_microsecond(now).unwrap_or(if now < 0 { first } else { last });
    i64::from(jiff::tz::Offset::UTC.to_datetime(moment).day())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    #[schema(value_type = i64, example = 5_000_000)]
    pub micros: Micros,
    pub period: BudgetPeriod,
}

/// A key as it is kept: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub account_id: String,
    pub title: String,
    /// First characters of the key, enough to recognise it in a list.
    pub prefix: String,
    pub last4: String,
    /// `None` for a key of an older schema that is not hashed yet.
    pub digest: Option<Digest>,
    /// Of the pepper that the digest was made with.
    pub pepper_version: i32,
    /// An empty list allows nothing.
    pub scopes: Vec<Scope>,
    /// `None` allows every model; an entry ending in `*` allows a prefix.
    pub models: Option<Vec<String>>,
    pub limits: Limits,
    pub budget: Option<Budget>,
    /// `None` allows every address.
    pub ip_allow: Option<Vec<IpNet>>,
    pub options: KeyOptions,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// The key this one replaced.
    pub rotated_from: Option<String>,
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// It came from elsewhere and is so short that it can be guessed.
    pub legacy_weak: bool,
    /// Why it was revoked, when that was not simply wished.
    pub revoked_reason: Option<String>,
}

/// How calls of a key are treated; each call may ask for more by a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyOptions {
    /// Answers are kept for so long and given again to the same request of the same account. Missing: only where a call asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, maximum = 2_592_000)]
    pub cache_ttl_seconds: Option<u32>,
    /// What an upstream cannot express is left out instead of refused; `x-pixgate-dropped` names it.
    pub drop_unsupported: bool,
}

impl ApiKey {
    /// Neither revoked nor expired. A revocation counts at once, whatever another node's clock stamped on it.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }

    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub fn allows_model(&self, model: &str) -> bool {
        let matches = |entry: &String| match entry.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => model == entry,
        };
        self.models.as_ref().is_none_or(|entries| entries.iter().any(matches))
    }

    /// IPv4 addresses written as IPv6 (`::ffff:a.b.c.d`) count as IPv4, in the list and in `address`.
    pub fn allows_ip(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.ip_allow.as_ref().is_none_or(|nets| nets.iter().any(|net| canonical(*net).contains(&address)))
    }
}

fn canonical(net: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let mapped = |net: ipnet::Ipv6Net| -> Option<Ipv4Net> {
        let address: Ipv4Addr = net.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, net.prefix_len().checked_sub(MAPPED_BITS)?).ok()
    };
    match net {
        IpNet::V6(six) => mapped(six).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOCATOR: &str = "Acc0123456";
    const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";

    fn key() -> ApiKey {
        ApiKey {
            id: "key_1".into(),
            account_id: "acc_1".into(),
            title: "laptop".into(),
            prefix: "px_live_Acc0".into(),
            last4: "0000".into(),
            digest: Some([0; 32]),
            pepper_version: 1,
            scopes: vec![Scope::Inference],
            models: None,
            limits: Limits::default(),
            budget: None,
            ip_allow: None,
            options: KeyOptions::default(),
            expires_at: None,
            revoked_at: None,
            rotated_from: None,
            last_used_at: None,
            created_at: 0,
            legacy_weak: false,
            revoked_reason: None,
        }
    }

    fn micros(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn checksums_match_the_published_vectors() {
        assert_eq!(&checksum(b"qkJaB6MffYVzZXWqmcoF49yrUxP3wf"), b"0LsakP");
        assert_eq!(&checksum(&[b'A'; 43]), b"0DofJ8");
    }

    #[test]
    fn a_composed_key_parses_back() {
        for kind in [KeyKind::Live, KeyKind::Test] {
            let text = compose(kind, LOCATOR, SECRET);
            assert_eq!(text.len(), 8 + 10 + 32 + 6);
            assert_eq!(text.capacity(), text.len());
            assert_eq!(parse(&text), Ok(Parsed { kind, locator: LOCATOR }));
            assert_eq!(Shape::of(&text), Ok(Shape::Standard(Parsed { kind, locator: LOCATOR })));
        }
    }

    #[test]
    fn shapes_tell_ours_foreign_and_malformed_apart() {
        let ours = compose(KeyKind::Live, LOCATOR, SECRET);
        let cases = [
            ("sk-legacy-0123456789", Ok(Shape::Foreign)),
            ("px_admin_whatever", Ok(Shape::Foreign)),
            ("", Err(Malformed)),
            ("two words", Err(Malformed)),
            ("tab\there", Err(Malformed)),
            ("schlüssel", Err(Malformed)),
            ("px_live_", Err(Malformed)),
            (&ours[..ours.len() - 1], Err(Malformed)),
            (&*format!("{ours}0"), Err(Malformed)),
            (&*format!("{ours} "), Err(Malformed)),
            (&*ours.replace("px_live_Acc", "px_live_A-c"), Err(Malformed)),
            (&*ours.replace("px_live_Acc", "px_live_ßc"), Err(Malformed)),
            (&*"k".repeat(512), Ok(Shape::Foreign)),
            (&*"k".repeat(513), Err(Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(Shape::of(text), expected, "{text}");
        }
        assert_eq!(parse("sk-legacy-0123456789"), Err(Malformed));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_noticed(at in 8usize..56, replacement in 0usize..62) {
            let ours = compose(KeyKind::Test, LOCATOR, SECRET);
            let mut bytes = ours.clone().into_bytes();
            bytes[at] = BASE62[replacement];
            let typo = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(parse(&typo).is_ok(), typo == ours);
        }

        #[test]
        fn no_text_breaks_the_parser(text in "(px_live_|px_test_)?\\PC{0,60}") {
            let _ = Shape::of(&text);
        }
    }

    #[test]
    fn base62_is_uniform_over_the_accepted_bytes() {
        let mut next = 0u8;
        let text = base62(248, |bytes| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
        });
        assert!(BASE62.iter().all(|digit| text.bytes().filter(|byte| byte == digit).count() == 4));
        // The eight rejected bytes leave no trace: the next round starts over at the first character.
        let mut bytes = (248..=255).chain(0..56);
        assert!(base62(3, |buffer| buffer.fill_with(|| bytes.next().unwrap())).starts_with("012"));
        assert_eq!(base62(0, |_| panic!("nothing to draw")), "");
    }

    #[test]
    fn models_match_exactly_or_by_prefix() {
        let cases: [(Option<&[&str]>, &str, bool); 8] = [
            (None, "openai/gpt-4o", true),
            (Some(&[]), "openai/gpt-4o", false),
            (Some(&["openai/gpt-4o"]), "openai/gpt-4o", true),
            (Some(&["openai/gpt-4o"]), "openai/gpt-4o-mini", false),
            (Some(&["pixgate/echo", "openai/*"]), "openai/gpt-4o-mini", true),
            (Some(&["openai/*"]), "openai", false),
            (Some(&["*"]), "anything", true),
            (Some(&["a*b"]), "axb", false),
        ];
        for (models, model, allowed) in cases {
            let key = ApiKey { models: models.map(|list| list.iter().map(ToString::to_string).collect()), ..key() };
            assert_eq!(key.allows_model(model), allowed, "{models:?} {model}");
        }
    }

    #[test]
    fn addresses_match_in_either_notation() {
        let cases = [
            (None, "203.0.113.9", true),
            (Some("10.0.0.0/8"), "10.1.2.3", true),
            (Some("10.0.0.0/8"), "::ffff:10.1.2.3", true),
            (Some("10.0.0.0/8"), "11.0.0.1", false),
            (Some("::ffff:10.0.0.0/104"), "10.1.2.3", true),
            (Some("::ffff:10.0.0.0/104"), "::ffff:11.0.0.1", false),
            (Some("2001:db8::/32"), "2001:db8::7", true),
            (Some("2001:db8::/32"), "10.1.2.3", false),
            (Some("::/0"), "10.1.2.3", false),
        ];
        for (net, address, allowed) in cases {
            let key = ApiKey { ip_allow: net.map(|net| vec![net.parse().unwrap()]), ..key() };
            assert_eq!(key.allows_ip(address.parse().unwrap()), allowed, "{net:?} {address}");
        }
        assert!(!ApiKey { ip_allow: Some(Vec::new()), ..key() }.allows_ip("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn a_key_lives_until_it_expires_or_is_revoked() {
        assert!(key().is_live(100));
        assert!(ApiKey { expires_at: Some(101), ..key() }.is_live(100));
        assert!(!ApiKey { expires_at: Some(100), ..key() }.is_live(100));
        assert!(!ApiKey { revoked_at: Some(101), ..key() }.is_live(100));
    }

    #[test]
    fn no_scopes_means_none() {
        assert!(key().has_scope(Scope::Inference));
        assert!(!key().has_scope(Scope::Admin));
        assert!(!ApiKey { scopes: Vec::new(), ..key() }.has_scope(Scope::Inference));
    }

    #[test]
    fn budget_periods_begin_at_utc_midnight_and_on_the_first() {
        let cases = [
            (BudgetPeriod::Day, "2026-11-22T13:14:15.123456Z", "2026-11-22T00:00:00Z"),
            (BudgetPeriod::Day, "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z"),
            (BudgetPeriod::Day, "2026-11-21T23:59:59.999999Z", "2026-11-21T00:00:00Z"),
            (BudgetPeriod::Month, "2028-02-29T23:59:59.999999Z", "2028-02-01T00:00:00Z"),
            (BudgetPeriod::Month, "2028-03-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (BudgetPeriod::Month, "1969-12-31T23:59:59Z", "1969-12-01T00:00:00Z"),
            (BudgetPeriod::Total, "2026-11-22T13:14:15Z", "1970-01-01T00:00:00Z"),
        ];
        for (period, now, start) in cases {
            assert_eq!(period.started_at(micros(now)), micros(start), "{period:?} {now}");
        }
    }
}
