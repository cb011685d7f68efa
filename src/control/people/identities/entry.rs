//! Behind the provider: known people get in, unknown ones get an account, and the second factor is asked for.

use super::{
    super::{
        super::{
            Control, ControlError,
            accounts::{self, Account, LOCATOR_TRIES, NAME_LENGTH_MAX, normal_email},
        },
        TOKEN_LENGTH, Visitor, device_of, digest, domains, event, is_known_device,
        register::{Newcomer, check_agreement, join},
        second_factor,
        sign_in::{SignedIn, admit},
    },
    BeginSignIn, Finished, Flow, keep, read, refused,
};
use crate::{
    clock::fill_random,
    domain::{
        SECOND, Timestamp,
        account::AccountStatus,
        api_key::{Digest, base62},
        identity::{IdentityProvider, IdentityRefusal, Person},
        mail::Locale,
        refusal::Refusal,
    },
    store::{self, StoreError},
};

/// How long somebody may look for the second factor.
const SECOND_FACTOR_LIFE: Timestamp = 300 * SECOND;

fn second_factor_digest(control: &Control, token: &str) -> Digest {
    digest(control, &format!("oauth second factor {token}"))
}

/// Signs a known person in, and gives an unknown one an account.
pub(super) async fn enter(
    control: &Control,
    visitor: &Visitor,
    provider: IdentityProvider,
    person: &Person,
    begun: BeginSignIn,
) -> Result<Finished, ControlError> {
    // Somebody who is known gets in with whatever address.
    let usable_email = person.email.as_deref().and_then(|email| normal_email(email).ok());
    for _ in 0..LOCATOR_TRIES {
        // Looked up before the identity: an account that another window makes of this person meanwhile has its identity from its start on.
        let known = match &usable_email {
            Some(email) => store::accounts::by_email(&control.db, email).await?,
            None => None,
        };
        if let Some(identity) = store::identities::find(&control.db, provider, &person.subject).await? {
            let account = accounts::get(control, &identity.account_id).await?;
            return open(control, visitor, provider, account, begun.return_to).await;
        }
        let email = person.email.as_deref().ok_or_else(|| refused(IdentityRefusal::EmailUnverified(provider)))?;
        let email = normal_email(email)?;
        if let Some(known) = known {
            store::security::append(&control.db, &event(control, Some(&known.id), "identity_refused", visitor)).await?;
            return Err(refused(IdentityRefusal::NotLinked(provider)));
        }
        if !control.people.policy.sign_up_open {
            return Err(Refusal::SignUpClosed.into());
        }
        domains::check(control, &email).await?;
        check_agreement(control, &begun.agreement()).await?;
        if is_agreement_missing(control, &begun).await? {
            return Ok(Finished::AgreementMissing { begun });
        }
        control.people.guard.sign_up(visitor)?;
        let name: String = person.name.chars().filter(|letter| !letter.is_control()).take(NAME_LENGTH_MAX).collect();
        let newcomer = Newcomer {
            email: &email,
            name: name.trim(),
            locale: Locale::of(begun.locale.as_deref().or(person.locale.as_deref()).unwrap_or_default()),
            password_hash: None,
            identity: Some((provider, &person.subject)),
            sign_up: begun.origin().sign_up(provider.as_str(), visitor),
        };
        match join(control, visitor, newcomer).await {
            // The same person in another window was faster, or the locator is taken: look again.
            Err(StoreError::Conflict(_)) => {}
            outcome => {
                let account = outcome?;
                control.accounts.changed(&account.locator).await;
                return open(control, visitor, provider, account, begun.return_to).await;
            }
        }
    }
    Err(ControlError::Internal("no free locator was found".to_owned()))
}

async fn is_agreement_missing(control: &Control, begun: &BeginSignIn) -> Result<bool, ControlError> {
    if control.people.policy.age_min_years > 0 && begun.age_confirmed != Some(true) {
        return Ok(true);
    }
    let has_policies = !store::policies::current(&control.db, control.clock.now()).await?.is_empty();
    Ok(has_policies && begun.accept_terms != Some(true))
}

/// Opens a session, or asks for the second factor first.
async fn open(
    control: &Control,
    visitor: &Visitor,
    provider: IdentityProvider,
    account: Account,
    return_to: Option<String>,
) -> Result<Finished, ControlError> {
    if account.status == AccountStatus::Closed {
        return Err(refused(IdentityRefusal::Closed));
    }
    if second_factor::has_second_factor(control, &account.id).await? {
        let token = base62(TOKEN_LENGTH, fill_random);
        let kept = second_factor_digest(control, &token);
        keep(control, provider, kept, Some(&account.id), &Flow::SecondFactor { return_to }, SECOND_FACTOR_LIFE).await?;
        return Ok(Finished::SecondFactor { token });
    }
    let session_token = admit(control, visitor, &account).await?;
    let device = device_of(control, &account.email);
    Ok(Finished::SignedIn { signed_in: SignedIn { account, session_token, device, second_factor: false }, return_to })
}

/// Takes the second factor of somebody who signed in with a provider; `token` is that of [`Finished::SecondFactor`]. A wrong code can be
/// followed by another one; tries are counted with those at the password.
pub async fn finish_second_factor(
    control: &Control,
    visitor: &Visitor,
    token: &str,
    code: Option<&str>,
    recovery_code: Option<&str>,
) -> Result<(SignedIn, Option<String>), ControlError> {
    let spent = || refused(IdentityRefusal::SecondFactorSpent);
    let (now, kept) = (control.clock.now(), second_factor_digest(control, token));
    let pending = store::identities::find_pending(&control.db, &control.sealer, &kept, now).await?.ok_or_else(spent)?;
    let Flow::SecondFactor { return_to } = read(&pending)? else { return Err(spent()) };
    let account = accounts::get(control, pending.account_id.as_deref().unwrap_or_default()).await?;
    if account.status == AccountStatus::Closed {
        return Err(refused(IdentityRefusal::Closed));
    }
    control.people.guard.password(&account.email, visitor, is_known_device(control, visitor, &account.email))?;
    let credentials = store::credentials::get(&control.db, &account.id).await?;
    if credentials.totp_confirmed_at.is_some() {
        control.people.guard.second_factor(&account.id, is_known_device(control, visitor, &account.email))?;
        let checked = second_factor::check(control, &account.id, &credentials, code, recovery_code).await;
        if matches!(checked, Err(ControlError::Refused(Refusal::WrongCode(_)))) {
            store::security::append(&control.db, &event(control, Some(&account.id), "second_factor_failed", visitor)).await?;
        }
        checked?;
    }
    store::identities::take_pending(&control.db, &control.sealer, &kept, now).await?.ok_or_else(spent)?;
    let session_token = admit(control, visitor, &account).await?;
    let device = device_of(control, &account.email);
    Ok((SignedIn { account, session_token, device, second_factor: true }, return_to))
}
