//! Linking providers to an account, listing and unlinking them.

use super::{
    super::{
        super::{Control, ControlError, accounts::Account, audit, mail, owner::Owner},
        Visitor, event,
    },
    Finished, refused,
};
use crate::{
    domain::{
        account::AccountStatus,
        identity::{IdentityProvider, IdentityRefusal, Person},
        mail::Message,
        refusal::Refusal,
    },
    store::{
        self, StoreError,
        identities::{Identity, Unlinked},
    },
};

/// An address that nobody proved may be somebody else's, who must not find an identity of a stranger's on the account.
pub(super) async fn check_may_link(control: &Control, account: &Account, provider: IdentityProvider) -> Result<(), ControlError> {
    if account.status != AccountStatus::Active {
        return Err(Refusal::AccountNotActive("suspended").into());
    }
    if account.verified_at.is_none() {
        return Err(Refusal::EmailUnverified.into());
    }
    let linked = store::identities::list(&control.db, &account.id).await?;
    if linked.iter().any(|identity| identity.provider == provider) {
        return Err(refused(IdentityRefusal::LinkedAlready(provider)));
    }
    Ok(())
}

pub(super) async fn link(
    control: &Control,
    visitor: &Visitor,
    owner: &Owner,
    provider: IdentityProvider,
    person: &Person,
) -> Result<Finished, ControlError> {
    let account = &owner.account;
    if let Some(known) = store::identities::find(&control.db, provider, &person.subject).await? {
        return match known.account_id == account.id {
            true => Ok(Finished::Linked { provider }),
            false => Err(refused(IdentityRefusal::LinkedElsewhere(provider))),
        };
    }
    check_may_link(control, account, provider).await?;
    let identity = Identity {
        provider,
        subject: person.subject.clone(),
        account_id: account.id.clone(),
        email: person.email.clone().ok_or_else(|| refused(IdentityRefusal::EmailUnverified(provider)))?,
        created_at: control.clock.now(),
    };
    let mail = mail::to_account(control, account, Message::IdentityChanged { provider: provider.title().to_owned(), linked: true });
    let event = event(control, Some(&account.id), "identity_linked", visitor);
    match store::identities::link(&control.db, &control.sealer, &identity, &mail, &event).await {
        // Both were free a moment ago.
        Err(StoreError::Conflict(_)) => return Err(refused(IdentityRefusal::LinkedElsewhere(provider))),
        outcome => outcome?,
    }
    control.mailer.nudge();
    audit::note(control, &owner.actor, "identity.link", &account.id, serde_json::json!({ "provider": provider.as_str() })).await;
    Ok(Finished::Linked { provider })
}

/// The identities that open an account.
pub async fn list_identities(control: &Control, account_id: &str) -> Result<Vec<Identity>, ControlError> {
    Ok(store::identities::list(&control.db, account_id).await?)
}

/// Unlinks a provider, unless nothing else opens the account.
pub async fn unlink_identity(control: &Control, visitor: &Visitor, owner: &Owner, provider: IdentityProvider) -> Result<(), ControlError> {
    let account = &owner.account;
    let mail = mail::to_account(control, account, Message::IdentityChanged { provider: provider.title().to_owned(), linked: false });
    let event = event(control, Some(&account.id), "identity_unlinked", visitor);
    let usable = control.people.providers.configured();
    match store::identities::unlink(&control.db, &control.sealer, &account.id, provider, &usable, &mail, &event).await? {
        Unlinked::Done => {}
        Unlinked::NotLinked => return Err(ControlError::NotFound(format!("a linked {} account", provider.title()))),
        Unlinked::LastWayIn => return Err(refused(IdentityRefusal::LastWayIn(provider))),
    }
    control.mailer.nudge();
    audit::note(control, &owner.actor, "identity.unlink", &account.id, serde_json::json!({ "provider": provider.as_str() })).await;
    Ok(())
}
