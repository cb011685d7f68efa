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
    use super::*;
    use crate::domain::{account::AccountStatus, quota::Limits};

    const START: i64 = 1_800_000_000_000_000;

    async fn join(db: &Db, number: u32, verified: bool, status: AccountStatus, created_at: i64) {
        let account = store::accounts::NewAccount {
            id: format!("acc_{number:05}"),
            locator: format!("l{number}"),
            email: format!("a{number}@example.com"),
            name: String::new(),
            status,
            verified_at: verified.then_some(created_at),
            limits: Limits::default(),
            plan_id: None,
            is_operator: false,
            locale: "zh".to_owned(),
            created_at,
        };
        store::accounts::create(db, account).await.unwrap();
    }

    #[tokio::test]
    async fn everybody_is_told_once_whatever_happens_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(START);
        let options = store::Options {
            url: format!("sqlite://{}/x.db", dir.path().display()),
            durability: store::Durability::Process,
            max_connections: 2,
            busy_timeout_ms: 1_000,
            acquire_timeout_ms: 1_000,
        };
        let db = Db::open(&options).await.unwrap();
        db.migrate().await.unwrap();
        let readers = u32::try_from(BATCH + 30).unwrap();
        for number in 0..readers {
            join(&db, number, true, AccountStatus::Active, START).await;
        }
        join(&db, readers, false, AccountStatus::Active, START).await;
        join(&db, readers + 1, true, AccountStatus::Closed, START).await;
        let now = START + 1_000_000;
        join(&db, readers + 2, true, AccountStatus::Active, now + 1).await;
        for document in ["terms", "privacy"] {
            let policy = Policy {
                document: document.to_owned(),
                version: "2".to_owned(),
                body: "b".to_owned(),
                effective_at: now,
                announced_at: None,
                created_at: now,
            };
            store::policies::insert(&db, &policy).await.unwrap();
        }
        hand.advance(std::time::Duration::from_secs(2));
        let announcer = Announcer { sealer: Sealer::new(&[7; 32]).unwrap(), public_url: "http://127.0.0.1".into() };
        // A node that ended behind its first batch, before it could note anything.
        let first = store::policies::unannounced(&db).await.unwrap().unwrap();
        let begun: Vec<Reader> = store::policies::readers(&db, &first, None, BATCH).await.unwrap();
        let mails: Vec<NewMail> = begun.iter().map(|reader| announcer.mail(&first, reader, clock.now())).collect();
        assert_eq!(store::policies::announce(&db, &announcer.sealer, &first, &mails, None).await.unwrap(), BATCH);
        for _ in 0..3 {
            assert_eq!(announcer.announce(&db, &clock, None).await.unwrap(), None);
        }
        let mut written = 0;
        for number in 0..readers + 3 {
            let waiting = store::outbox::waiting_for(&db, &announcer.sealer, &format!("a{number}@example.com")).await.unwrap();
            assert_eq!(waiting.len(), if number < readers { 2 } else { 0 }, "{number}");
            written += waiting.len();
        }
        assert_eq!(written, 2 * readers as usize);
        assert!(store::policies::unannounced(&db).await.unwrap().is_none());
    }

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
