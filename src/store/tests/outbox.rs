//! Claims of mails: one node at a time, and for a time only.

use super::*;
use crate::{
    domain::mail::{Locale, MailStatus, Message},
    store::{
        outbox::{self, NewMail, Settled},
        seal::Sealer,
    },
};

fn sealer() -> Sealer {
    Sealer::new(&[7; 32]).unwrap()
}

async fn put(db: &Db, id: &str) {
    let mail = NewMail {
        id: id.to_owned(),
        account_id: None,
        recipient: "ada@example.com".to_owned(),
        locale: Locale::En,
        message: Message::AccountReinstated {},
        created_at: NOW,
    };
    outbox::enqueue(db, &sealer(), &mail).await.unwrap();
}

async fn claim(db: &Db, with_held: bool, now: Timestamp) -> Vec<outbox::Claimed> {
    outbox::claim(db, &sealer(), with_held, now, now + SECOND, 2).await.unwrap()
}

#[tokio::test]
async fn a_claimed_mail_is_nobody_elses_until_its_claim_ends() {
    with_db(async |db| {
        for id in ["mail_1", "mail_2", "mail_3"] {
            put(db, id).await;
        }
        let (first, second) = tokio::join!(claim(db, false, NOW), claim(db, false, NOW));
        let mut ids: Vec<&str> = first.iter().chain(&second).map(|mail| mail.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["mail_1", "mail_2", "mail_3"]);
        assert!(claim(db, true, NOW).await.is_empty());
        assert!(first.iter().all(|mail| mail.message.is_ok() && mail.attempts == 1));

        let again = claim(db, false, NOW + SECOND).await;
        assert_eq!((again.len(), again[0].attempts), (2, 2));
        let old = first.iter().chain(&second).find(|mail| mail.id == again[0].id).unwrap();
        assert!(!outbox::settle(db, old, &Settled::Sent { at: NOW }).await.unwrap(), "its claim has ended");
        assert!(outbox::settle(db, &again[0], &Settled::Sent { at: NOW }).await.unwrap());
        assert!(!outbox::retry(db, &again[0].id, NOW).await.unwrap(), "what was sent is gone");
    })
    .await;
}

#[tokio::test]
async fn every_outcome_is_kept() {
    with_db(async |db| {
        let outcomes = [
            (Settled::Held { at: NOW }, MailStatus::Held, 0),
            (Settled::Again { at: NOW + 9, error: "later".to_owned() }, MailStatus::Pending, 1),
            (Settled::Dead { error: "no".to_owned() }, MailStatus::Dead, 1),
            (Settled::Expired { error: "old".to_owned() }, MailStatus::Dead, 1),
        ];
        for (index, (settled, status, attempts)) in outcomes.into_iter().enumerate() {
            let id = format!("mail_{index}");
            put(db, &id).await;
            let mail = claim(db, false, NOW).await.pop().unwrap();
            assert!(outbox::settle(db, &mail, &settled).await.unwrap());
            let row = outbox::get(db, &id).await.unwrap().unwrap();
            let next_at = match &settled {
                Settled::Held { at } | Settled::Again { at, .. } => *at,
                _ => NOW + SECOND,
            };
            assert_eq!((row.status, row.attempts, row.next_at), (status, attempts, next_at));
        }
        let depth = outbox::depth(db, true, NOW + SECOND).await.unwrap();
        assert_eq!((depth.pending, depth.held, depth.dead, depth.due), (1, 1, 2, 2));
        assert_eq!(outbox::depth(db, false, NOW + SECOND).await.unwrap().due, 1);
        assert_eq!(claim(db, true, NOW + SECOND).await.len(), 2);
        assert!(outbox::retry(db, "mail_2", NOW).await.unwrap() && !outbox::retry(db, "mail_3", NOW).await.unwrap());
        assert_eq!(outbox::delete_old(db, NOW + 1, 10).await.unwrap(), 1, "only what waits for nothing goes");
        assert!(outbox::get(db, "mail_3").await.unwrap().is_none());
    })
    .await;
}
