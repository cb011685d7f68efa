//! Answers that are kept.

use super::*;
use crate::store::{
    responses::{self, Chain, ChainLimits, StoredResponse},
    seal::Sealer,
};

const LIMITS: ChainLimits = ChainLimits { answers_max: 3, bytes_max: 10_000 };

fn sealer() -> Sealer {
    Sealer::new(&[7; 32]).unwrap()
}

fn response(id: &str, previous_id: Option<&str>) -> StoredResponse {
    StoredResponse {
        id: id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        model: "m".to_owned(),
        previous_id: previous_id.map(str::to_owned),
        input: format!("[\"in {id}\"]"),
        output: format!("{{\"output\":[\"{id}\"]}}"),
        created_at: NOW,
        expires_at: NOW + 10,
    }
}

async fn chain(db: &Db, id: &str, limits: ChainLimits) -> Chain {
    responses::chain(db, &sealer(), ACCOUNT, id, NOW, limits).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_kept_sealed_for_its_account_until_it_expires() {
    with_db(async |db| {
        let (sealer, kept) = (sealer(), response("resp_1", None));
        responses::insert(db, &sealer, &kept).await.unwrap();
        assert!(matches!(responses::insert(db, &sealer, &kept).await, Err(StoreError::Conflict(_))));
        let find = async |account: &str, now: Timestamp| responses::find(db, &sealer, account, "resp_1", now).await.unwrap();
        assert_eq!(find(ACCOUNT, NOW + 9).await.as_ref(), Some(&kept));
        assert_eq!(find("acct_2", NOW).await, None);
        assert_eq!(find(ACCOUNT, NOW + 10).await, None);
        let row = crate::store::sql::one(db.read(), "SELECT sealed_input FROM stored_responses", []).await.unwrap().unwrap();
        let sealed: Vec<u8> = row.try_get("", "sealed_input").unwrap();
        assert!(!sealed.windows(2).any(|window| window == b"in"), "no plain text in the table");
        assert!(responses::find(db, &Sealer::new(&[8; 32]).unwrap(), ACCOUNT, "resp_1", NOW).await.is_err());

        assert!(!responses::delete(db, "acct_2", "resp_1", NOW).await.unwrap());
        assert!(responses::delete(db, ACCOUNT, "resp_1", NOW).await.unwrap());
        assert!(!responses::delete(db, ACCOUNT, "resp_1", NOW).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_conversation_is_followed_to_its_beginning_and_no_further_than_allowed() {
    with_db(async |db| {
        for (id, previous) in [("r1", None), ("r2", Some("r1")), ("r3", Some("r2")), ("r4", Some("r3")), ("x2", Some("gone"))] {
            responses::insert(db, &sealer(), &response(id, previous)).await.unwrap();
        }
        let whole = Chain::Whole(vec![response("r1", None), response("r2", Some("r1")), response("r3", Some("r2"))]);
        assert_eq!(chain(db, "r3", LIMITS).await, whole);
        assert_eq!(chain(db, "r4", LIMITS).await, Chain::TooLong);
        assert_eq!(chain(db, "r3", ChainLimits { bytes_max: 100, ..LIMITS }).await, Chain::TooLong);
        assert_eq!(chain(db, "r1", ChainLimits { answers_max: 1, ..LIMITS }).await, Chain::Whole(vec![response("r1", None)]));
        assert_eq!(chain(db, "x2", LIMITS).await, Chain::Missing("gone".to_owned()));
        assert_eq!(chain(db, "r9", LIMITS).await, Chain::Missing("r9".to_owned()));
        let other = responses::chain(db, &sealer(), "acct_2", "r1", NOW, LIMITS).await.unwrap();
        assert_eq!(other, Chain::Missing("r1".to_owned()));
        responses::delete(db, ACCOUNT, "r1", NOW).await.unwrap();
        assert_eq!(chain(db, "r3", LIMITS).await, Chain::Missing("r1".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn expired_answers_are_swept() {
    with_db(async |db| {
        for id in ["r1", "r2", "r3"] {
            responses::insert(db, &sealer(), &response(id, None)).await.unwrap();
        }
        let late = StoredResponse { expires_at: NOW + 20, ..response("r4", None) };
        responses::insert(db, &sealer(), &late).await.unwrap();
        assert_eq!(responses::delete_expired(db, NOW + 9, 10).await.unwrap(), 0);
        assert_eq!(responses::delete_expired(db, NOW + 10, 2).await.unwrap(), 2);
        assert_eq!(responses::delete_expired(db, NOW + 10, 2).await.unwrap(), 1);
        assert_eq!(chain(db, "r4", LIMITS).await, Chain::Whole(vec![late]));
    })
    .await;
}
