//! The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when the app is lost.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use totp_rs::{Algorithm, Builder, Secret as TotpSecret};
use utoipa::ToSchema;

use super::{
    super::{Control, ControlError, mail},
    Visitor, event,
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND,
        account::Account,
        api_key::{Digest, base62},
        mail::Message,
        refusal::Refusal,
    },
    store::{self, credentials::Credentials},
    telemetry::redact::Secret,
};

const DIGITS: u8 = 6;
const STEP_SECONDS: u64 = 30;
/// Steps before and after now whose codes count: clocks of phones differ.
const SKEW: u16 = 1;
const SECRET_BYTES: usize = 20;
const RECOVERY_CODES: usize = 10;
const RECOVERY_CODE_LENGTH: usize = 14;

/// What an authenticator app needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Enrolment {
    /// Base32.
    pub secret: String,
    /// For a QR code.
    pub otpauth_url: String,
}

/// Proposes a secret; it counts once [`confirm_totp`] has seen a code of it.
pub async fn enroll_totp(control: &Control, account: &Account) -> Result<Enrolment, ControlError> {
    if store::credentials::get(&control.db, &account.id).await?.totp_confirmed_at.is_some() {
        return Err(ControlError::Conflict("the second factor is on; switch it off before setting up another".to_owned()));
    }
    let mut bytes = [0; SECRET_BYTES];
    fill_random(&mut bytes);
    let secret = TotpSecret::new_stack(bytes).to_base32();
    let sealed = store::credentials::seal_totp(&control.sealer, &account.id, &secret)?;
    store::credentials::propose_totp(&control.db, &account.id, sealed, control.clock.now()).await?;
    let label = utf8_percent_encode(&account.email, NON_ALPHANUMERIC);
    let otpauth_url =
        format!("otpauth://totp/Pixgate:{label}?secret={secret}&issuer=Pixgate&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}");
    Ok(Enrolment { secret, otpauth_url })
}

/// Switches the second factor on; answers with recovery codes, which are shown only now.
pub async fn confirm_totp(control: &Control, visitor: &Visitor, account: &Account, code: &str) -> Result<Vec<String>, ControlError> {
    let kept = store::credentials::get(&control.db, &account.id).await?;
    if kept.totp_confirmed_at.is_some() {
        return Err(ControlError::Conflict("the second factor is on already".to_owned()));
    }
    if kept.totp_sealed.is_none() {
        return Err(ControlError::invalid("code", "ask for a secret first: POST /api/v1/me/totp"));
    }
    check(control, &account.id, &kept, Some(code), None).await?;
    let (codes, rows) = draw_codes(control);
    let mail = mail::to_account(control, account, Message::SecondFactorChanged { enabled: true });
    store::credentials::confirm_totp(&control.db, &control.sealer, &account.id, &rows, &mail, control.clock.now()).await?;
    store::security::append(&control.db, &event(control, Some(&account.id), "second_factor_on", visitor)).await?;
    control.mailer.nudge();
    Ok(codes)
}

/// Needs a code, once the second factor is on: whoever has only the password must not get rid of it.
pub async fn remove_totp(control: &Control, visitor: &Visitor, account: &Account, proof: &Proof) -> Result<(), ControlError> {
    prove(control, account, proof).await?;
    let mail = mail::to_account(control, account, Message::SecondFactorChanged { enabled: false });
    store::credentials::remove_totp(&control.db, &control.sealer, &account.id, &mail, control.clock.now()).await?;
    store::security::append(&control.db, &event(control, Some(&account.id), "second_factor_off", visitor)).await?;
    control.mailer.nudge();
    Ok(())
}

/// A code of the app, or a recovery code.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    pub code: Option<Secret>,
    pub recovery_code: Option<Secret>,
}

/// Asks for the second factor where it is on.
async fn prove(control: &Control, account: &Account, proof: &Proof) -> Result<(), ControlError> {
    let kept = store::credentials::get(&control.db, &account.id).await?;
    if kept.totp_confirmed_at.is_none() {
        return Ok(());
    }
    let (code, recovery_code) = (proof.code.as_ref().map(Secret::expose), proof.recovery_code.as_ref().map(Secret::expose));
    check(control, &account.id, &kept, code, recovery_code).await
}

/// Whether the second factor is on.
pub async fn has_second_factor(control: &Control, account_id: &str) -> Result<bool, ControlError> {
    Ok(store::credentials::get(&control.db, account_id).await?.totp_confirmed_at.is_some())
}

/// New recovery codes; older ones stop working.
pub async fn new_recovery_codes(control: &Control, account: &Account, proof: &Proof) -> Result<Vec<String>, ControlError> {
    if store::credentials::get(&control.db, &account.id).await?.totp_confirmed_at.is_none() {
        return Err(ControlError::Conflict("recovery codes belong to the second factor, which is off".to_owned()));
    }
    prove(control, account, proof).await?;
    let (codes, rows) = draw_codes(control);
    store::credentials::replace_codes(&control.db, &account.id, &rows, control.clock.now()).await?;
    Ok(codes)
}

fn draw_codes(control: &Control) -> (Vec<String>, Vec<(String, Digest)>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| base62(RECOVERY_CODE_LENGTH, fill_random)).collect();
    let rows = codes.iter().map(|code| (control.clock.new_id("rcv"), recovery_digest(control, code))).collect();
    (codes, rows)
}

fn recovery_digest(control: &Control, code: &str) -> Digest {
    control.hasher.digest(&format!("recovery {code}"))
}

/// Uses up a code of the app or a recovery code. Each counts once.
pub(super) async fn check(
    control: &Control,
    account_id: &str,
    kept: &Credentials,
    code: Option<&str>,
    recovery_code: Option<&str>,
) -> Result<(), ControlError> {
    if let Some(recovery_code) = recovery_code {
        let digest = recovery_digest(control, recovery_code.trim());
        let used = store::credentials::use_code(&control.db, account_id, &digest, control.clock.now()).await?;
        return if used { Ok(()) } else { Err(Refusal::WrongCode("this recovery code is wrong or was used").into()) };
    }
    let code = code.map(str::trim).filter(|code| !code.is_empty()).ok_or(Refusal::SecondFactorRequired)?;
    let sealed = kept.totp_sealed.as_deref().ok_or_else(|| ControlError::Internal("a second factor without a secret".to_owned()))?;
    let secret = store::credentials::open_totp(&control.sealer, account_id, sealed)?;
    let now = u64::try_from(control.clock.now() / SECOND).unwrap_or(0);
    let step = matching_step(&secret, code, now)?.ok_or(Refusal::WrongCode("this code is wrong or too old; check the clock of the app"))?;
    if store::credentials::use_step(&control.db, account_id, step).await? {
        return Ok(());
    }
    Err(Refusal::WrongCode("this code was used; wait for the next one").into())
}

/// The time step, near `now` in seconds, that `code` belongs to.
fn matching_step(secret: &str, code: &str, now: u64) -> Result<Option<i64>, ControlError> {
    let broken = |error: String| ControlError::Internal(format!("a second factor's secret is broken: {error}"));
    let secret = TotpSecret::try_from_base32(secret).map_err(|_| broken("not base32".to_owned()))?;
    let totp = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(SKEW)
        .with_step_duration(STEP_SECONDS)
        .with_secret(secret)
        .build()
        .map_err(|error| broken(error.to_string()))?;
    Ok(totp.check(code, now).and_then(|step| i64::try_from(step).ok()))
}

#[cfg(test)]
mod tests {
    use super::matching_step;

    /// RFC 6238, appendix B, the SHA-1 secret, cut to six digits.
    #[test]
    fn agrees_with_the_standard_and_knows_the_step() {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(matching_step(secret, "287082", 59).unwrap(), Some(1));
        assert_eq!(matching_step(secret, "287082", 89).unwrap(), Some(1), "one step late");
        assert_eq!(matching_step(secret, "287082", 120).unwrap(), None, "three steps late");
        assert_eq!(matching_step(secret, "081804", 1_111_111_109).unwrap(), Some(37_037_036));
        assert_eq!(matching_step(secret, "81804", 1_111_111_109).unwrap(), None);
    }
}
