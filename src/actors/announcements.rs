//! Tells people of a new version of the terms or of the privacy policy: one mail each, batch by batch, as part of the sweeper's turns.
//!
//! Owns nothing. A mail's id follows from the version and its reader, so a node that begins again, or two nodes at once, write none
//! twice; the version says when all are written.

use std::sync::Arc;

use aws_lc_rs::digest;

use crate::{
    clock::Clock,
    domain::{
        id,
        mail::{Locale, Message},
    },
    store::{
        self, Db, StoreError,
        outbox::NewMail,
        policies::{Policy, Reader},
        seal::Sealer,
    },
};

/// Readers of one transaction, and of one turn.
const BATCH: u64 = 200;
const BATCHES_PER_TURN: usize = 10;

#[derive(Clone)]
pub struct Announcer {
    pub sealer: Sealer,
    /// Base of all links.
    pub public_url: Arc<str>,
}

impl Announcer {
    /// Goes on behind the reader `told`, and answers with the last one of this turn; `None` when nothing is left to do.
    pub async fn announce(&self, db: &Db, clock: &Clock, mut told: Option<String>) -> Result<Option<String>, StoreError> {
        let Some(policy) = store::policies::unannounced(db).await? else { return Ok(None) };
        for _ in 0..BATCHES_PER_TURN {
            let readers = store::policies::readers(db, &policy, told.as_deref(), BATCH).await?;
            let now = clock.now();
            let mails: Vec<NewMail> = readers.iter().map(|reader| self.mail(&policy, reader, now)).collect();
            let is_last = (readers.len() as u64) < BATCH;
            store::policies::announce(db, &self.sealer, &policy, &mails, is_last.then_some(now)).await?;
            if is_last {
                tracing::info!(policy.document = %policy.document, policy.version = %policy.version, "a new version was announced");
                return Ok(None);
            }
            told = readers.last().map(|reader| reader.account_id.clone());
        }
        Ok(told)
    }

    fn mail(&self, policy: &Policy, reader: &Reader, now: i64) -> NewMail {
        let Policy { document, version, effective_at, created_at, .. } = policy;
        let link = format!("{}/policies/{document}?version={}", self.public_url, escaped(version));
        NewMail {
            id: mail_id(document, version, &reader.account_id, *created_at),
            account_id: Some(reader.account_id.clone()),
            recipient: reader.email.clone(),
            locale: Locale::of(&reader.locale),
            message: Message::PolicyChanged { document: document.clone(), version: version.clone(), effective_at: *effective_at, link },
            created_at: now,
        }
    }
}

fn escaped(version: &str) -> String {
    percent_encoding::utf8_percent_encode(version, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The same for the same version and reader, and of the usual shape.
fn mail_id(document: &str, version: &str, account_id: &str, created_at: i64) -> String {
    let digest = digest::digest(&digest::SHA256, format!("{document}\n{version}\n{account_id}").as_bytes());
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    id::prefixed("mail", created_at, random)
}

#[cfg(test)]
mod tests {
    use super::mail_id;

    #[test]
    fn one_id_a_version_and_reader() {
        let id = |document, version, account| mail_id(document, version, account, 1_800_000_000_000_000);
        assert_eq!(id("terms", "2", "acc_1"), id("terms", "2", "acc_1"));
        assert!(id("terms", "2", "acc_1").starts_with("mail_"));
        for other in [id("privacy", "2", "acc_1"), id("terms", "3", "acc_1"), id("terms", "2", "acc_2")] {
            assert_ne!(other, id("terms", "2", "acc_1"));
        }
    }
}
