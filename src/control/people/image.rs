//! The profile image: a blob that the account names.

use bytes::Bytes;
use serde_json::json;

use super::super::{Control, ControlError, audit, owner::Owner};
use crate::{
    actors::blobs,
    domain::{
        account::Account,
        blob::{BlobArea, BlobKey},
        refusal::Refusal,
    },
    store::{self, accounts::AccountPatch},
};

pub const IMAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What browsers show and what runs no scripts.
const KINDS: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/// What an image is, by its first bytes; what its sender calls it does not count.
fn kind_of(content: &[u8]) -> Option<&'static str> {
    infer::get(content).map(|kind| kind.mime_type()).filter(|kind| KINDS.contains(kind))
}

/// Puts an image in place of an earlier one. The blob is written before the account names it and deleted after it is not named any more.
pub async fn set_image(control: &Control, owner: &Owner, content: Bytes) -> Result<Account, ControlError> {
    if content.len() > IMAGE_BYTES_MAX {
        return Err(Refusal::FileTooLarge { bytes: content.len() as u64, limit_bytes: IMAGE_BYTES_MAX as u64 }.into());
    }
    let Some(kind) = kind_of(&content) else {
        return Err(ControlError::invalid("image", format!("the image must be one of {}", KINDS.join(", "))));
    };
    let account_id = &owner.account.id;
    let id = control.clock.new_id("img");
    let key = BlobKey::new(account_id, BlobArea::Images, &id)
        .ok_or_else(|| ControlError::Internal(format!("no blob can be named after {account_id} and {id}")))?;
    blobs::put(&control.blobs, &key, content).await?;
    let account = name(control, account_id, Some(key.as_str().to_owned())).await;
    let dropped = if account.is_ok() { owner.account.image_blob.as_deref().and_then(BlobKey::parse) } else { Some(key) };
    discard(control, dropped).await;
    audit::note(control, &owner.actor, "account.image", account_id, json!({ "kind": kind })).await;
    account
}

pub async fn remove_image(control: &Control, owner: &Owner) -> Result<(), ControlError> {
    let Some(old) = owner.account.image_blob.as_deref() else { return Ok(()) };
    name(control, &owner.account.id, None).await?;
    discard(control, BlobKey::parse(old)).await;
    audit::note(control, &owner.actor, "account.image", &owner.account.id, json!({ "kind": null })).await;
    Ok(())
}

/// The image and its type.
pub async fn read_image(control: &Control, account: &Account) -> Result<(Bytes, &'static str), ControlError> {
    let missing = || ControlError::NotFound(format!("an image of {}", account.id));
    let key = account.image_blob.as_deref().and_then(BlobKey::parse).ok_or_else(missing)?;
    let content = blobs::get(&control.blobs, &key).await?.ok_or_else(missing)?;
    let kind = kind_of(&content).ok_or_else(|| ControlError::Internal(format!("the blob {} is no image", key.as_str())))?;
    Ok((content, kind))
}

async fn name(control: &Control, account_id: &str, blob: Option<String>) -> Result<Account, ControlError> {
    let change = AccountPatch { image_blob: Some(blob), ..AccountPatch::default() };
    Ok(store::accounts::update(&control.db, account_id, change, control.clock.now()).await?)
}

/// A blob that stays although nothing names it is swept later.
async fn discard(control: &Control, key: Option<BlobKey>) {
    let Some(key) = key else { return };
    if let Err(error) = control.blobs.delete(&key).await {
        tracing::warn!(error = %error, blob = key.as_str(), "a blob could not be deleted; the sweeper will");
    }
}

#[cfg(test)]
mod tests {
    use super::kind_of;

    #[test]
    fn an_image_is_what_its_bytes_say() {
        assert_eq!(kind_of(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), Some("image/png"));
        assert_eq!(kind_of(b"\xff\xd8\xff\xe0\0\x10JFIF"), Some("image/jpeg"));
        assert_eq!(kind_of(b"GIF89a\x01\0\x01\0"), Some("image/gif"));
        assert_eq!(kind_of(b"RIFF\x1a\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"%PDF-1.7", b"<html>", b"BM\0\0\0\0", b""] {
            assert_eq!(kind_of(other), None);
        }
    }
}
