//! Tickets: which of them are closed by time, and that simultaneous messages keep their order.

use super::*;
use crate::{
    domain::{
        seal::Sealer,
        ticket::{Priority, Side, TicketStatus},
    },
    store::tickets::{self, Counted, Rate, Reply, Ticket, TicketMessage, TicketPatch},
};

const FREE: Rate = Rate { max: 0, window: 0 };

fn message(ticket_id: &str, id: &str, side: Side, created_at: Timestamp) -> TicketMessage {
    TicketMessage {
        id: id.to_owned(),
        ticket_id: ticket_id.to_owned(),
        side,
        author_id: "x".to_owned(),
        internal: false,
        body: id.to_owned(),
        created_at,
    }
}

async fn open(db: &Db, sealer: &Sealer, id: &str, now: Timestamp) {
    let ticket = Ticket {
        id: id.to_owned(),
        account_id: ACCOUNT.to_owned(),
        opened_by: ACCOUNT.to_owned(),
        title: "t".to_owned(),
        status: TicketStatus::Open,
        priority: Priority::Normal,
        assignee: None,
        request_id: None,
        order_id: None,
        ledger_entry_id: None,
        messages: 1,
        created_at: now,
        updated_at: now,
        closed_at: None,
    };
    let first = message(id, &format!("{id}_first"), Side::Customer, now);
    assert_eq!(tickets::open(db, sealer, &ticket, &first, None, FREE).await, Ok(Counted::Done(())));
}

#[tokio::test]
async fn only_answered_and_idle_tickets_close() {
    with_db(async |db| {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        for (id, status, at) in [
            ("open", TicketStatus::Open, NOW),
            ("pending", TicketStatus::Pending, NOW),
            ("solved", TicketStatus::Solved, NOW),
            ("fresh", TicketStatus::Pending, NOW + SECOND),
        ] {
            open(db, &sealer, id, NOW).await;
            let patch = TicketPatch { status: Some(status), ..TicketPatch::default() };
            tickets::update(db, None, id, &patch, at).await.unwrap();
        }
        assert_eq!(tickets::close_idle(db, NOW, NOW + SECOND, 1).await, Ok(1));
        assert_eq!(tickets::close_idle(db, NOW, NOW + SECOND, 10).await, Ok(1));
        assert_eq!(tickets::close_idle(db, NOW, NOW + SECOND, 10).await, Ok(0));
        for (id, closed_at) in [("open", None), ("pending", Some(NOW + SECOND)), ("solved", Some(NOW + SECOND)), ("fresh", None)] {
            let ticket = tickets::find(db, Some(ACCOUNT), id).await.unwrap().unwrap();
            assert_eq!((ticket.closed_at, ticket.status == TicketStatus::Closed), (closed_at, closed_at.is_some()), "{id}");
        }
    })
    .await;
}

#[tokio::test]
async fn messages_of_one_moment_keep_their_order() {
    with_db(async |db| {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        open(db, &sealer, "t", NOW).await;
        let ids = ["m9", "m1", "m5", "m3"];
        for id in ids {
            let message = message("t", id, Side::Support, NOW);
            let reply = Reply { account_id: None, message: &message, status: None, mail: None, rate: None };
            assert!(matches!(tickets::reply(db, &sealer, reply).await, Ok(Counted::Done(_))));
        }
        let listed = async |after| -> Vec<String> {
            tickets::messages(db, "t", true, after, 10).await.unwrap().into_iter().map(|message| message.id).collect()
        };
        assert_eq!(listed(Some("t_first")).await, ids);
        assert_eq!(listed(Some("m1")).await, ids[2..]);
        assert!(listed(Some("nothing")).await.is_empty());
        let stranger = message("t", "x", Side::Customer, NOW);
        let reply = Reply { account_id: Some("acct_2"), message: &stranger, status: None, mail: None, rate: None };
        assert!(matches!(tickets::reply(db, &sealer, reply).await, Err(StoreError::NotFound(_))));
    })
    .await;
}
