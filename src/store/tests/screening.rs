//! Hits of screening rules: written once, listed newest first, deleted when they are old.

use super::*;
use crate::{
    domain::screening::Action,
    store::screening::{
        Exemption, Hit, HitFilter, Release, delete_hits, insert_hits, list_exemptions, list_hits, open_excerpt, release, seal_excerpt,
    },
    store::seal::Sealer,
};

fn hit(number: i64) -> Hit {
    Hit {
        id: format!("sch_{number:04}"),
        request_id: format!("req_{number}"),
        account_id: if number % 2 == 0 { "acc_even" } else { "acc_odd" }.to_owned(),
        key_id: "key".to_owned(),
        rule_id: "scr".to_owned(),
        rule_name: "a rule".to_owned(),
        action: Action::Flag,
        model: "m".to_owned(),
        endpoint: "/v1/messages".to_owned(),
        sealed_excerpt: None,
        created_at: number,
        release: None,
    }
}

#[tokio::test]
async fn hits_are_written_once_and_go_when_they_are_old() {
    with_db(async |db| {
        let hits: Vec<Hit> = (0..250).map(hit).collect();
        insert_hits(db, &hits).await.unwrap();
        // An attempt whose outcome was not known is made again.
        insert_hits(db, &hits[100..]).await.unwrap();
        let all = list_hits(db, &HitFilter::default(), None, 1_000).await.unwrap();
        assert!(all.len() == 250 && all[0] == hits[249]);
        let odd = HitFilter { account_id: Some("acc_odd".to_owned()), action: Some(Action::Flag), ..HitFilter::default() };
        assert_eq!(list_hits(db, &odd, Some("sch_0003"), 10).await.unwrap(), [hits[1].clone()]);
        assert_eq!(delete_hits(db, 200, 150).await.unwrap(), 150);
        assert_eq!(delete_hits(db, 200, 150).await.unwrap(), 50);
        assert_eq!(delete_hits(db, 200, 150).await.unwrap(), 0);
        assert_eq!(list_hits(db, &HitFilter::default(), None, 1_000).await.unwrap().len(), 50);
    })
    .await;
}

#[tokio::test]
async fn a_release_counts_once() {
    with_db(async |db| {
        insert_hits(db, &[hit(1), hit(3)]).await.unwrap();
        let by = |by: &str, at: i64| Release { at, by: by.to_owned(), reason: "why".to_owned() };
        let exemption = |id: &str, hit: &str| Exemption {
            id: id.to_owned(),
            account_id: "acc_odd".to_owned(),
            rule_id: "scr".to_owned(),
            hit_id: hit.to_owned(),
            reason: "why".to_owned(),
            created_by: "key".to_owned(),
            created_at: 5,
        };
        release(db, "sch_0001", &by("one", 5), &exemption("scx_1", "sch_0001")).await.unwrap();
        release(db, "sch_0001", &by("two", 6), &exemption("scx_2", "sch_0001")).await.unwrap();
        release(db, "sch_0003", &by("two", 7), &exemption("scx_3", "sch_0003")).await.unwrap();
        assert_eq!(list_exemptions(db).await.unwrap(), [exemption("scx_1", "sch_0001")], "one an account and rule");
        let released: Vec<_> = list_hits(db, &HitFilter::default(), None, 9).await.unwrap().into_iter().map(|hit| hit.release).collect();
        assert_eq!(released, [Some(by("two", 7)), Some(by("one", 5))]);
    })
    .await;
}

#[test]
fn excerpts_are_bound_to_their_hit() {
    let sealer = Sealer::new(&[7; 32]).unwrap();
    let sealed = seal_excerpt(&sealer, "sch_0001", "heron").unwrap();
    assert_eq!(open_excerpt(&sealer, &Hit { sealed_excerpt: Some(sealed.clone()), ..hit(1) }).unwrap().as_deref(), Some("heron"));
    assert!(open_excerpt(&sealer, &Hit { sealed_excerpt: Some(sealed), ..hit(3) }).is_err());
    assert_eq!(open_excerpt(&sealer, &hit(1)).unwrap(), None);
}
