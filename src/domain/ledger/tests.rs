//! Single rules of the ledger, each by example. All of them together: `proof`.

use super::*;

fn grant(id: &str, amount: Micros) -> Grant {
    Grant::new(id.into(), amount, Category::Paid, 0, 0, None)
}

fn wallet(grants: impl IntoIterator<Item = Grant>) -> Wallet {
    let mut wallet = Wallet::default();
    for grant in grants {
        wallet.grant(grant).unwrap();
    }
    wallet
}

fn slices(slices: &[Slice]) -> Vec<(&str, Micros)> {
    slices.iter().map(|slice| (&*slice.grant_id, slice.amount)).collect()
}

fn moves(transfers: &[Transfer]) -> Vec<(TransferKind, Option<&str>, Micros)> {
    transfers.iter().map(|transfer| (transfer.kind, transfer.grant_id.as_deref(), transfer.amount)).collect()
}

/// The operation is refused and leaves everything as it was.
#[track_caller]
fn check_refused<T: PartialEq + std::fmt::Debug>(
    wallet: &mut Wallet,
    expected: LedgerError,
    operation: impl FnOnce(&mut Wallet) -> Result<T, LedgerError>,
) {
    let before = wallet.clone();
    assert_eq!(operation(wallet), Err(expected));
    assert_eq!(*wallet, before);
}

#[test]
fn draws_by_priority_then_expiry_then_category_then_start_then_id() {
    let terms = [
        ("priority", Category::Paid, -1, 5, None),
        ("sooner", Category::Paid, 0, 5, Some(100)),
        ("later", Category::Promotional, 0, 5, Some(200)),
        ("promotional", Category::Promotional, 0, 5, None),
        ("earlier", Category::Paid, 0, 4, None),
        ("id_a", Category::Paid, 0, 5, None),
        ("id_b", Category::Paid, 0, 5, None),
        ("unimportant", Category::Promotional, 1, 0, Some(50)),
    ];
    let grants = terms
        .map(|(id, category, priority, effective_at, expires_at)| Grant::new(id.into(), 1, category, priority, effective_at, expires_at));
    let mut wallet = wallet(grants.into_iter().rev());
    let drawn = wallet.lease("l", 8, 8, 10).unwrap();
    assert_eq!(slices(&drawn), terms.map(|terms| (terms.0, 1)));
}

#[test]
fn a_grant_counts_from_its_start_until_just_before_its_end() {
    let mut wallet = wallet([Grant::new("g".into(), 5, Category::Paid, 0, 10, Some(20))]);
    for (now, drawable) in [(9, 0), (10, 5), (19, 5), (20, 0)] {
        assert_eq!(wallet.drawable(now), drawable, "{now}");
    }
    check_refused(&mut wallet, LedgerError::Insufficient { needed: 1, available: 0 }, |wallet| wallet.lease("l", 1, 1, 20));
}

#[test]
fn a_lease_takes_what_it_wants_or_at_least_what_it_needs() {
    let mut wallet = wallet([grant("a", 4), grant("b", 6)]);
    assert_eq!(slices(&wallet.lease("l", 1, 3, 0).unwrap()), [("a", 3)]);
    assert_eq!(slices(&wallet.lease("l", 5, 100, 0).unwrap()), [("a", 1), ("b", 6)]);
    assert_eq!(slices(&wallet.leases[0].slices), [("a", 4), ("b", 6)]);
    check_refused(&mut wallet, LedgerError::Insufficient { needed: 1, available: 0 }, |wallet| wallet.lease("l", 1, 1, 0));
    check_refused(&mut wallet, LedgerError::NotPositive, |wallet| wallet.lease("l", -1, 1, 0));
    check_refused(&mut wallet, LedgerError::NotPositive, |wallet| wallet.lease("l", 0, -1, 0));
}

#[test]
fn a_fold_books_everything_or_nothing() {
    let mut wallet = wallet([grant("a", 4), grant("b", 6)]);
    wallet.lease("l", 7, 7, 0).unwrap();
    let captured = |parts: &[(&str, Micros)]| parts.iter().map(|(id, amount)| ((*id).to_owned(), *amount)).collect::<Vec<_>>();
    let cases = [
        (captured(&[("a", 1), ("b", 4)]), LedgerError::Insufficient { needed: 4, available: 3 }),
        (captured(&[("b", 2), ("a", 1), ("b", 2)]), LedgerError::Insufficient { needed: 4, available: 3 }),
        (captured(&[("a", 1), ("c", 1)]), LedgerError::NoGrant("c".into())),
        (captured(&[("a", 1), ("b", -1)]), LedgerError::NotPositive),
    ];
    for (captured, refusal) in cases {
        check_refused(&mut wallet, refusal, |wallet| wallet.fold("l", &captured));
    }
    check_refused(&mut wallet, LedgerError::NoLease("m".into()), |wallet| wallet.fold("m", &[]));
    wallet.fold("l", &captured(&[("b", 1), ("a", 4), ("b", 2)])).unwrap();
    assert_eq!((wallet.grants[0].spent, wallet.grants[1].spent, wallet.grants[1].leased), (4, 3, 0));
}

#[test]
fn a_closed_lease_returns_its_rest_and_lets_the_expired_go() {
    let mut wallet = wallet([Grant::new("a".into(), 4, Category::Paid, 0, 0, Some(10)), grant("b", 6)]);
    wallet.lease("l", 8, 8, 9).unwrap();
    wallet.fold("l", &[("a".into(), 1)]).unwrap();
    assert_eq!(wallet.expire(10), [], "leased credits do not expire");
    assert_eq!(moves(&wallet.close_lease("l", 10).unwrap()), [(TransferKind::Expire, Some("a"), 3)]);
    assert_eq!((wallet.drawable(10), wallet.leases.len()), (6, 0));
    check_refused(&mut wallet, LedgerError::NoLease("l".into()), |wallet| wallet.close_lease("l", 10));
}

#[test]
fn what_no_credit_covers_becomes_debt_that_the_next_grant_pays_first() {
    let mut wallet = wallet([grant("a", 4)]);
    assert_eq!(moves(&wallet.debit(7, 0)), [(TransferKind::Capture, Some("a"), 4), (TransferKind::Overage, None, 3)]);
    check_refused(&mut wallet, LedgerError::InDebt { debt: 3 }, |wallet| wallet.lease("l", 0, 0, 0));
    let transfers = wallet.grant(grant("b", 2)).unwrap();
    assert_eq!(moves(&transfers), [(TransferKind::Grant, Some("b"), 2), (TransferKind::Repay, Some("b"), 2)]);
    wallet.grant(grant("c", 5)).unwrap();
    assert_eq!((wallet.debt, wallet.overage, wallet.drawable(0)), (0, 3, 4));
    assert_eq!(wallet.debit(0, 0), []);
}

#[test]
fn credits_that_come_back_pay_the_debt_made_without_them() {
    let mut wallet = wallet([grant("a", 10)]);
    wallet.lease("l", 10, 10, 0).unwrap();
    wallet.debit(4, 0);
    assert_eq!(wallet.debt, 4);
    assert_eq!(moves(&wallet.close_lease("l", 0).unwrap()), [(TransferKind::Repay, Some("a"), 4)]);
    assert_eq!((wallet.debt, wallet.drawable(0)), (0, 6));
}

#[test]
fn a_grant_whose_time_comes_pays_debt_on_request() {
    let mut wallet = wallet([Grant::new("later".into(), 10, Category::Paid, 0, 50, None)]);
    wallet.debit(4, 0);
    assert_eq!(wallet.repay(49), []);
    assert_eq!(moves(&wallet.repay(50)), [(TransferKind::Repay, Some("later"), 4)]);
    assert_eq!(wallet.repay(50), []);
    assert_eq!(wallet.drawable(50), 6);
}

#[test]
fn a_revocation_takes_only_what_is_left() {
    let mut wallet = wallet([grant("a", 10)]);
    wallet.lease("l", 3, 3, 0).unwrap();
    wallet.debit(2, 0);
    assert_eq!(moves(&wallet.revoke("a", 3).unwrap()), [(TransferKind::Revoke, Some("a"), 3)]);
    assert_eq!(moves(&wallet.revoke("a", 100).unwrap()), [(TransferKind::Revoke, Some("a"), 2)]);
    assert_eq!(wallet.revoke("a", 1), Ok(Vec::new()));
    check_refused(&mut wallet, LedgerError::NotPositive, |wallet| wallet.revoke("a", 0));
    check_refused(&mut wallet, LedgerError::NoGrant("b".into()), |wallet| wallet.revoke("b", 1));
}

#[test]
fn grants_have_a_sane_size() {
    let mut wallet = Wallet::default();
    for (amount, refusal) in [
        (0, LedgerError::NotPositive),
        (-1, LedgerError::NotPositive),
        (Micros::MIN, LedgerError::NotPositive),
        (GRANT_MICROS_MAX + 1, LedgerError::TooLarge),
    ] {
        check_refused(&mut wallet, refusal, |wallet| wallet.grant(grant("a", amount)));
    }
    assert!(wallet.grant(grant("a", GRANT_MICROS_MAX)).is_ok());
}
