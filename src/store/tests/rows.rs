//! The plain tables.

use pixgate_migration::{Migrator, MigratorTrait};

use super::*;
use crate::{
    domain::{
        api_key::{ApiKey, Budget, BudgetPeriod, KeyOptions, Scope},
        catalog::{Capabilities, Model, ModelKind, PriceRecord, PriceSource, ProviderKind, Route, Timeouts, Upstream, UpstreamOptions},
        pricing::{Price, Unit},
        route::Routing,
    },
    store::{Engine, audit, catalog, keys, sessions, sql},
};

#[tokio::test]
async fn migrations_apply_once() {
    with_options(async |db, options| {
        assert_eq!(db.engine() == Engine::Sqlite, options.url.starts_with("sqlite:"));
        assert_eq!(db.pending_migrations().await.unwrap(), Vec::<String>::new());
        db.migrate().await.unwrap();
        assert!(accounts::get(db, ACCOUNT).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_fresh_database_waits_for_all_migrations() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open(&options(format!("sqlite://{}/new/x.db", directory.path().display()))).await.unwrap();
    assert_eq!(db.pending_migrations().await.unwrap().len(), Migrator::migrations().len());
    db.migrate().await.unwrap();
    assert_eq!(db.pending_migrations().await.unwrap().len(), 0);
}

#[tokio::test]
async fn accounts_are_found_changed_and_unique() {
    with_db(async |db| {
        new_account(db, "acct_2").await;
        let account = accounts::get(db, "acct_2").await.unwrap().unwrap();
        assert_eq!(accounts::by_email(db, "acct_2@example.org").await.unwrap().as_ref(), Some(&account));
        assert_eq!(accounts::by_locator(db, &account.locator).await.unwrap().as_ref(), Some(&account));
        assert_eq!(accounts::operator(db).await.unwrap(), None);
        assert_eq!(accounts::count(db).await.unwrap(), 2);
        let ids = async |q, after| -> Vec<String> {
            accounts::list(db, q, after, 10).await.unwrap().into_iter().map(|account| account.id).collect()
        };
        assert_eq!(ids(None, None).await, ["acct_2", "acct_1"]);
        assert_eq!(ids(None, Some("acct_2")).await, ["acct_1"]);
        assert_eq!(ids(Some("T_2@EX"), None).await, ["acct_2"]);
        assert_eq!(ids(Some("%"), None).await, Vec::<String>::new());

        let limits = Limits { rpm: Some(7), ..Limits::default() };
        let patch = accounts::AccountPatch {
            status: Some(AccountStatus::Suspended),
            verified_at: Some(Some(NOW)),
            limits: Some(limits),
            ..Default::default()
        };
        let changed = accounts::update(db, "acct_2", patch, NOW + 1).await.unwrap();
        assert_eq!((changed.status, changed.verified_at, changed.limits), (AccountStatus::Suspended, Some(NOW), limits));
        assert_eq!((changed.updated_at, changed.name.as_str()), (NOW + 1, "Ada"));
        let taken = accounts::AccountPatch { email: Some("acct_1@example.org".to_owned()), ..Default::default() };
        let refused = accounts::update(db, "acct_2", taken, NOW).await.unwrap_err();
        assert_eq!(refused, StoreError::Conflict("an account with the e-mail address acct_1@example.org exists".to_owned()));
        let nobody = accounts::update(db, "acct_9", Default::default(), NOW).await;
        assert!(matches!(nobody, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn keys_are_kept_whole_and_belong_to_one_account() {
    with_db(async |db| {
        let mut key = ApiKey {
            id: "key_1".to_owned(),
            account_id: ACCOUNT.to_owned(),
            title: "laptop".to_owned(),
            prefix: "px_live_ab".to_owned(),
            last4: "wxyz".to_owned(),
            digest: Some([7; 32]),
            pepper_version: 1,
            scopes: vec![Scope::Inference, Scope::Account],
            models: Some(vec!["openai/*".to_owned()]),
            limits: Limits { tpm: Some(9), ..Limits::default() },
            budget: Some(Budget { micros: 5, period: BudgetPeriod::Month }),
            ip_allow: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            options: KeyOptions { cache_ttl_seconds: Some(60), drop_unsupported: true },
            expires_at: Some(NOW),
            revoked_at: None,
            rotated_from: None,
            last_used_at: None,
            created_at: NOW,
            legacy_weak: false,
            revoked_reason: None,
        };
        keys::insert(db, &key).await.unwrap();
        assert!(matches!(keys::insert(db, &ApiKey { id: "key_2".to_owned(), ..key.clone() }).await, Err(StoreError::Conflict(_))));
        assert_eq!(keys::get(db, ACCOUNT, "key_1").await.unwrap().as_ref(), Some(&key));
        assert_eq!(keys::get(db, "acct_2", "key_1").await.unwrap(), None);
        assert_eq!(keys::find_by_id(db, "key_1").await.unwrap().as_ref(), Some(&key));
        assert_eq!(keys::find_by_digest(db, &[[8; 32], [7; 32]]).await.unwrap().as_ref(), Some(&key));
        assert_eq!(keys::find_by_digest(db, &[[8; 32]]).await.unwrap(), None);
        assert_eq!(keys::count_by_pepper(db).await.unwrap(), [(1, 1)]);
        assert!(!keys::rehash(db, "key_1", &[8; 32], &[9; 32], 2).await.unwrap(), "another digest than the one that was read");
        assert!(keys::rehash(db, "key_1", &[7; 32], &[9; 32], 2).await.unwrap());
        (key.digest, key.pepper_version) = (Some([9; 32]), 2);
        (key.models, key.budget, key.ip_allow, key.revoked_at) = (None, None, None, Some(NOW + 1));
        keys::update(db, &key).await.unwrap();
        assert_eq!(keys::list_by_account(db, ACCOUNT).await.unwrap(), [key.clone()]);
        let revived = ApiKey { revoked_at: None, ..key.clone() };
        assert!(matches!(keys::update(db, &revived).await, Err(StoreError::NotFound(_))), "a revocation is for good");
        let foreign = ApiKey { account_id: "acct_2".to_owned(), ..key.clone() };
        assert!(matches!(keys::update(db, &foreign).await, Err(StoreError::NotFound(_))));
        let uses = [("key_1".to_owned(), NOW + 5), ("key_1".to_owned(), NOW + 3), ("key_9".to_owned(), NOW)];
        keys::touch_last_used(db, &uses).await.unwrap();
        assert_eq!(keys::list(db, None, 10).await.unwrap()[0].last_used_at, Some(NOW + 5));
        assert_eq!(keys::list(db, Some("key_1"), 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn the_catalogue_is_loaded_as_it_was_saved() {
    with_db(async |db| {
        let mut upstream = Upstream {
            name: "main".to_owned(),
            provider: ProviderKind::Openai,
            base_url: "http://127.0.0.1:1/v1".to_owned(),
            sealed_api_key: vec![1, 2, 3],
            sealed_api_keys: vec![4],
            options: UpstreamOptions { region: Some("eu-west-1".to_owned()), ..UpstreamOptions::default() },
            weight: 3,
            priority: -1,
            max_concurrency: Some(8),
            timeouts: Timeouts::default(),
            enabled: true,
            created_at: NOW,
            updated_at: NOW,
        };
        let mut model = Model {
            id: "pixgate/echo".to_owned(),
            kind: ModelKind::Chat,
            display_name: "Echo".to_owned(),
            aliases: vec!["echo".to_owned()],
            capabilities: Capabilities { vision: Some(true), sampling: Some(false), ..Capabilities::default() },
            context_window: Some(8_192),
            max_input_tokens: Some(8_000),
            max_output_tokens: None,
            prices: vec![Price::new(Unit::InputToken, 150_000, 1_000_000), Price::new(Unit::InputToken, 1, 1).above(200_000)],
            source: Some(PriceSource { name: "litellm".to_owned(), file_sha256: "ab".to_owned(), imported_at: NOW }),
            owner: Some("pixgate".to_owned()),
            deprecated_at: Some("2026-12-31".to_owned()),
            routes: vec![Route { upstream: "main".to_owned(), upstream_model: "m".to_owned(), weight: 1, priority: 0, costs: Vec::new() }],
            routing: Routing { sticky: true, fallbacks: vec!["other".to_owned()], ..Routing::default() },
            enabled: true,
            created_at: NOW,
            updated_at: NOW,
        };
        catalog::insert_upstream(db, &upstream).await.unwrap();
        catalog::insert_model(db, &model).await.unwrap();
        let refused = catalog::insert_model(db, &model).await.unwrap_err();
        assert_eq!(refused, StoreError::Conflict("a model with the id pixgate/echo exists".to_owned()));
        (upstream.max_concurrency, model.enabled) = (None, false);
        catalog::update_upstream(db, &upstream).await.unwrap();
        rewrite(db, &model).await;
        assert_eq!(catalog::get_upstream(db, "main").await.unwrap().as_ref(), Some(&upstream));
        assert_eq!(catalog::get_model(db, "pixgate/echo").await.unwrap().as_ref(), Some(&model));
        let all = catalog::load_all(db).await.unwrap();
        assert_eq!(catalog::load_enabled(db).await.unwrap(), catalog::Catalog { upstreams: vec![upstream.clone()], models: vec![] });
        assert_eq!(all, catalog::Catalog { upstreams: vec![upstream], models: vec![model] });
        assert!(catalog::delete_model(db, "pixgate/echo").await.unwrap());
        assert!(catalog::delete_upstream(db, "main").await.unwrap());
        assert!(!catalog::delete_upstream(db, "main").await.unwrap());
    })
    .await;
}

async fn rewrite(db: &Db, model: &Model) {
    let changes = catalog::ModelChanges { models: vec![model.clone()], prices: vec![] };
    catalog::change_models(db, |_| Ok::<_, StoreError>((changes, ()))).await.unwrap();
}

#[tokio::test]
async fn prices_are_only_appended() {
    with_db(async |db| {
        let record = |id: &str, valid_from| PriceRecord {
            id: id.to_owned(),
            model_id: "m".to_owned(),
            prices: vec![Price::new(Unit::Request, valid_from, 1)],
            source: None,
            valid_from,
            created_by: "key_1".to_owned(),
        };
        for (id, valid_from) in [("prc_b", 1), ("prc_a", 2)] {
            let changes = catalog::ModelChanges { models: vec![], prices: vec![record(id, valid_from)] };
            let known = catalog::change_models(db, |current| Ok::<_, StoreError>((changes, current.with_history.len()))).await.unwrap();
            assert_eq!(known, usize::from(valid_from == 2));
        }
        assert_eq!(catalog::list_prices(db, "m").await.unwrap(), [record("prc_a", 2), record("prc_b", 1)]);
        assert_eq!(catalog::list_prices(db, "n").await.unwrap(), []);
        for text in ["UPDATE model_prices SET valid_from = 9", "DELETE FROM model_prices"] {
            assert!(sql::execute(db.write(), text, []).await.unwrap_err().to_string().contains("append-only"), "{text}");
        }
        let refused = catalog::change_models(db, |_| Err::<(catalog::ModelChanges, ()), _>(StoreError::Conflict("no".to_owned()))).await;
        assert_eq!(refused, Err(StoreError::Conflict("no".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_link_signs_in_once() {
    with_db(async |db| {
        let link = sessions::Session {
            id: "s1".to_owned(),
            account_id: ACCOUNT.to_owned(),
            digest: [1; 32],
            purpose: sessions::Purpose::SignInLink,
            expires_at: NOW + 10,
            used_at: None,
            created_at: NOW,
            ip: None,
            user_agent: None,
            last_used_at: None,
        };
        let session = sessions::Session { id: "s2".to_owned(), digest: [2; 32], purpose: sessions::Purpose::Session, ..link.clone() };
        sessions::insert(db, &link).await.unwrap();
        sessions::insert(db, &session).await.unwrap();
        assert_eq!(sessions::consume_link(db, &[1; 32], NOW + 10).await.unwrap(), None);
        let tries = futures_util::future::try_join_all((0..4).map(|_| sessions::consume_link(db, &[1; 32], NOW + 1))).await.unwrap();
        assert_eq!(tries.into_iter().flatten().collect::<Vec<_>>(), [sessions::Session { used_at: Some(NOW + 1), ..link }]);
        assert_eq!(sessions::consume_link(db, &[2; 32], NOW).await.unwrap(), None);
        assert_eq!(sessions::find(db, &[2; 32], NOW + 9).await.unwrap().as_ref(), Some(&session));
        assert_eq!(sessions::find(db, &[2; 32], NOW + 10).await.unwrap(), None);
        assert!(!sessions::delete(db, "acct_2", "s2").await.unwrap());
        assert!(sessions::delete(db, ACCOUNT, "s2").await.unwrap());
        assert_eq!(sessions::delete_expired(db, NOW + 10).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_audit_trail_is_listed_newest_first() {
    with_db(async |db| {
        for (id, subject) in [("aud_1", "key_1"), ("aud_2", "key_2"), ("aud_3", "key_1")] {
            let details = serde_json::json!({ "id": id });
            let (actor, action) = ("operator".to_owned(), "key.revoke".to_owned());
            let entry = audit::AuditEntry { id: id.to_owned(), actor, action, subject: subject.to_owned(), details, created_at: NOW };
            audit::append(db, entry).await.unwrap();
        }
        let ids = async |subject, after| -> Vec<String> {
            audit::list(db, subject, after, 10).await.unwrap().into_iter().map(|entry| entry.id).collect()
        };
        assert_eq!(ids(None, None).await, ["aud_3", "aud_2", "aud_1"]);
        assert_eq!(ids(Some("key_1"), None).await, ["aud_3", "aud_1"]);
        assert_eq!(ids(None, Some("aud_2")).await, ["aud_1"]);
    })
    .await;
}
