//! The agreement of entities and migration.

use std::collections::BTreeSet;

use pixgate_entities as entities;
use sea_orm::{ActiveModelTrait, EntityTrait, IdenStatic, IntoActiveModel, Iterable};

use super::*;
use crate::store::{Engine, sql};

/// Inserts a row through the entity, reads it back, and compares the entity's columns with the table's.
async fn assert_matches<M>(db: &Db, table: &str, model: M)
where
    M: Clone + PartialEq + std::fmt::Debug + Send + Sync + sea_orm::ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel>,
    M::Entity: EntityTrait<Model = M>,
    <M::Entity as EntityTrait>::ActiveModel: Send,
{
    model.clone().into_active_model().insert(db.write()).await.unwrap();
    let rows = M::Entity::find().all(db.read()).await.unwrap();
    assert!(rows.contains(&model), "{table}: {rows:?}");
    let row = sql::one(db.read(), &format!("SELECT * FROM {table} LIMIT 1"), []).await.unwrap().unwrap();
    let in_table: BTreeSet<String> = row.column_names().into_iter().collect();
    let in_entity = <M::Entity as EntityTrait>::Column::iter().map(|column| column.as_str().to_owned()).collect();
    assert_eq!(in_table, in_entity, "{table}");
}

macro_rules! row {
    ($entity:ident { $($field:ident: $value:expr),* $(,)? }) => {
        entities::$entity::Model { $($field: $value.into()),* }
    };
}

#[tokio::test]
async fn entities_match_the_migration() {
    with_db(async |db| {
        let json = "{}";
        assert_matches(
            db,
            "accounts",
            row!(accounts {
                id: "a",
                locator: "l",
                email: "e",
                name: "n",
                status: "active",
                verified_at: 1,
                limits: json,
                plan_id: "p".to_owned(),
                is_operator: true,
                locale: "en",
                image_blob: "b".to_owned(),
                restricted_at: 1,
                objected_at: 2,
                keep_content: true,
                created_at: 1,
                updated_at: 2
            }),
        )
        .await;
        assert_matches(db, "wallets", row!(wallets { account_id: "a", debt_micros: 1, overage_micros: 2 })).await;
        assert_matches(db, "nodes", row!(nodes { id: "n", name: "n", version: "1", started_at: 1, expires_at: 2, fenced: true })).await;
        assert_matches(
            db,
            "grants",
            row!(grants {
                id: "g",
                account_id: "a",
                amount_micros: 21,
                category: "paid",
                priority: -1,
                effective_at: 1,
                expires_at: 2,
                available_micros: 1,
                leased_micros: 2,
                spent_micros: 3,
                expired_micros: 4,
                revoked_micros: 5,
                repaid_micros: 6,
                reason: "r",
                actor: "a",
                idempotency_key: "k",
                request_hash: "h",
                created_at: 3
            }),
        )
        .await;
        assert_matches(
            db,
            "leases",
            row!(leases { id: "l", account_id: "a", node_id: "n", state: "open", folded_seq: 1, created_at: 2, closed_at: 3 }),
        )
        .await;
        assert_matches(
            db,
            "lease_slices",
            row!(lease_slices { lease_id: "l", grant_id: "g", position: 1, amount_micros: 2, expires_at: 3 }),
        )
        .await;
        assert_matches(
            db,
            "open_holds",
            row!(open_holds {
                id: "h",
                request_id: "r",
                account_id: "a",
                key_id: "k",
                lease_id: "l",
                node_id: "n",
                amount_micros: 1,
                endpoint: "e",
                model: "m",
                created_at: 2
            }),
        )
        .await;
        assert_matches(db, "foreign_accounts", row!(foreign_accounts { source: "s", foreign_id: "f", account_id: ACCOUNT, created_at: 1 }))
            .await;
        assert_matches(
            db,
            "api_keys",
            row!(api_keys {
                id: "k",
                account_id: "a",
                title: "t",
                prefix: "p",
                last4: "4",
                digest: vec![1, 255],
                pepper_version: 1,
                scopes: json,
                models: json.to_owned(),
                limits: json,
                budget: json.to_owned(),
                ip_allow: json.to_owned(),
                options: "{}",
                expires_at: 1,
                revoked_at: 2,
                rotated_from: "o".to_owned(),
                last_used_at: 3,
                created_at: 4,
                legacy_key: "l".to_owned(),
                legacy_weak: true,
                revoked_reason: "r".to_owned()
            }),
        )
        .await;
        assert_matches(db, "chores", row!(chores { name: "c", created_at: 1 })).await;
        assert_matches(db, "key_notes", row!(key_notes { key_id: "k", metadata: json, blocked_at: 1, expires_before: 2 })).await;
        assert_matches(
            db,
            "upstreams",
            row!(upstreams {
                name: "u",
                provider: "echo",
                base_url: "b",
                sealed_api_key: vec![0, 1],
                weight: 1,
                priority: -1,
                max_concurrency: 2,
                timeouts: json,
                enabled: true,
                created_at: 1,
                updated_at: 2,
                options: json,
                sealed_api_keys: vec![2]
            }),
        )
        .await;
        assert_matches(
            db,
            "account_provider_keys",
            row!(account_provider_keys { account_id: "a", upstream: "u", sealed_key: vec![1], last4: "4", created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "models",
            row!(models {
                id: "m",
                kind: "chat",
                display_name: "d",
                aliases: json,
                capabilities: json,
                context_window: 1,
                max_input_tokens: 3,
                max_output_tokens: 2,
                prices: json,
                price_source: json.to_owned(),
                routes: json,
                routing: "{}",
                owner: "o".to_owned(),
                deprecated_at: "2026-12-31".to_owned(),
                enabled: false,
                created_at: 1,
                updated_at: 2
            }),
        )
        .await;
        let price = row!(model_prices { id: "p", model_id: "m", prices: json, source: json.to_owned(), valid_from: 1, created_by: "k" });
        assert_matches(db, "model_prices", price).await;
        assert_matches(
            db,
            "audit_entries",
            row!(audit_entries { id: "e", actor: "a", action: "x", subject: "s", details: json, created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "cached_answers",
            row!(cached_answers {
                account_id: "a",
                request_hash: "h",
                endpoint: "e",
                upstream_model: "m",
                sealed_body: vec![0, 1],
                created_at: 1,
                expires_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "idempotency_records",
            row!(idempotency_records {
                account_id: "a",
                idempotency_key: "k",
                request_hash: "h",
                usage_id: "u",
                status: 200,
                content_type: "c",
                headers: json,
                body: vec![0, 255],
                created_at: 1,
                expires_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "sessions",
            row!(sessions {
                id: "s",
                account_id: "a",
                digest: vec![9],
                purpose: "session",
                expires_at: 1,
                used_at: 2,
                created_at: 3,
                ip: "i".to_owned(),
                user_agent: "u".to_owned(),
                last_used_at: 4
            }),
        )
        .await;
        assert_matches(
            db,
            "screening_rules",
            row!(screening_rules {
                id: "r",
                name: "n",
                kind: "regex",
                pattern: "p",
                action: "flag",
                enabled: true,
                priority: -1,
                options: json,
                bundled: "s/k".to_owned(),
                created_at: 1,
                updated_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "screening_hits",
            row!(screening_hits {
                id: "h",
                request_id: "q",
                account_id: "a",
                key_id: "k",
                rule_id: "r",
                rule_name: "n",
                action: "block",
                model: "m",
                endpoint: "e",
                sealed_excerpt: vec![7],
                created_at: 1,
                released_at: 2,
                released_by: "k".to_owned(),
                release_reason: "w".to_owned()
            }),
        )
        .await;
        assert_matches(
            db,
            "screening_exemptions",
            row!(screening_exemptions { id: "x", account_id: "a", rule_id: "r", hit_id: "h", reason: "w", created_by: "k", created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "stored_responses",
            row!(stored_responses {
                id: "r",
                account_id: "a",
                model: "m",
                previous_id: "p".to_owned(),
                sealed_input: vec![0, 255],
                sealed_output: vec![1],
                created_at: 1,
                expires_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "usage_records",
            row!(usage_records {
                id: "u",
                request_id: "r",
                account_id: "a",
                key_id: "k",
                endpoint: "e",
                model: "m",
                upstream: "u",
                upstream_model: "um",
                status: 200,
                outcome: "completed",
                error_code: "c".to_owned(),
                streamed: true,
                estimated: true,
                input_tokens: 1,
                cached_input_tokens: 2,
                cache_write_tokens: 3,
                output_tokens: 4,
                reasoning_tokens: 5,
                other_quantities: json.to_owned(),
                cost_micros: 6,
                answer_id: "a".to_owned(),
                attempts: 1,
                started_at: 7,
                first_byte_at: 8,
                finished_at: 9
            }),
        )
        .await;
        // The sequence is the database's to give.
        give(db, "g1", 5).await;
        let transfer = entities::ledger_transfers::Entity::find().one(db.read()).await.unwrap().unwrap();
        assert_eq!((transfer.amount_micros, transfer.kind.as_str(), transfer.cause.as_str()), (5, "grant", "g1"));
        let row = sql::one(db.read(), "SELECT * FROM ledger_transfers", []).await.unwrap().unwrap();
        let in_entity: BTreeSet<String> = entities::ledger_transfers::Column::iter().map(|column| column.as_str().to_owned()).collect();
        assert_eq!(row.column_names().into_iter().collect::<BTreeSet<_>>(), in_entity);
        assert_matches(
            db,
            "credentials",
            row!(credentials {
                account_id: "a",
                password_hash: "t".to_owned(),
                password_changed_at: 1,
                totp_sealed: vec![0, 255],
                totp_confirmed_at: 1,
                totp_step: 1,
                updated_at: 1
            }),
        )
        .await;
        assert_matches(
            db,
            "recovery_codes",
            row!(recovery_codes { id: "t", account_id: "a", digest: vec![0, 255], used_at: 1, created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "external_identities",
            row!(external_identities { provider: "t", subject: "t", account_id: "a", email: "t", created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "oauth_states",
            row!(oauth_states {
                digest: vec![0, 255],
                provider: "t",
                account_id: "t".to_owned(),
                sealed_data: vec![0, 255],
                expires_at: 1,
                created_at: 1
            }),
        )
        .await;
        assert_matches(
            db,
            "mail_tokens",
            row!(mail_tokens {
                id: "t",
                account_id: "t".to_owned(),
                email: "t",
                purpose: "t",
                digest: vec![0, 255],
                data: "t",
                expires_at: 1,
                used_at: 1,
                created_at: 1
            }),
        )
        .await;
        assert_matches(
            db,
            "sign_ups",
            row!(sign_ups {
                account_id: "a",
                method: "t",
                ip: "t".to_owned(),
                user_agent: "t".to_owned(),
                referral_code: "t".to_owned(),
                campaign: "t",
                age_confirmed_at: 1,
                created_at: 1
            }),
        )
        .await;
        assert_matches(
            db,
            "policies",
            row!(policies { document: "t", version: "t", body: "t", effective_at: 1, announced_at: 1, created_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "policy_acceptances",
            row!(policy_acceptances { id: "t", account_id: "a", document: "t", version: "t", ip: "t".to_owned(), accepted_at: 1 }),
        )
        .await;
        assert_matches(
            db,
            "security_events",
            row!(security_events {
                id: "t",
                account_id: "t".to_owned(),
                event: "t",
                ip: "t".to_owned(),
                user_agent: "t".to_owned(),
                created_at: 1
            }),
        )
        .await;
        assert_matches(db, "blocked_domains", row!(blocked_domains { domain: "t", note: "t", created_at: 1 })).await;
        assert_matches(db, "members", row!(members { account_id: "a", member_id: "a", role: "t", created_at: 1 })).await;
        assert_matches(
            db,
            "outbox",
            row!(outbox {
                id: "t",
                account_id: "t".to_owned(),
                recipient: "t",
                kind: "t",
                locale: "t",
                sealed_message: vec![0, 255],
                status: "t",
                attempts: 2,
                next_at: 1,
                last_error: "t".to_owned(),
                created_at: 1,
                sent_at: 1
            }),
        )
        .await;
        assert_matches(
            db,
            "files",
            row!(files {
                id: "t",
                account_id: "a",
                purpose: "t",
                filename: "t",
                mime: "t",
                bytes: 1,
                sha256: "t",
                blob: "t",
                created_at: 1,
                expires_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "tickets",
            row!(tickets {
                id: "t",
                account_id: "a",
                opened_by: "t",
                title: "t",
                status: "t",
                priority: "t",
                assignee: "t".to_owned(),
                request_id: "t".to_owned(),
                order_id: "t".to_owned(),
                ledger_entry_id: 1,
                messages: 2,
                created_at: 3,
                updated_at: 4,
                closed_at: 5
            }),
        )
        .await;
        assert_matches(
            db,
            "ticket_messages",
            row!(ticket_messages {
                id: "t",
                ticket_id: "t",
                account_id: "a",
                number: 1,
                side: "t",
                author_id: "t",
                internal: true,
                body: "t",
                created_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "ticket_attachments",
            row!(ticket_attachments {
                id: "t",
                ticket_id: "t",
                account_id: "a",
                message_id: "t".to_owned(),
                side: "t",
                author_id: "t",
                internal: true,
                filename: "t",
                mime: "t",
                bytes: 1,
                sha256: "t",
                blob: "t",
                created_at: 2
            }),
        )
        .await;
        assert_matches(
            db,
            "request_contents",
            row!(request_contents {
                id: "t",
                account_id: "a",
                key_id: "t",
                request_id: "t",
                answer_id: "t".to_owned(),
                endpoint: "t",
                model: "t",
                status: 200,
                request_type: "t",
                answer_type: "t",
                request_bytes: 1,
                answer_bytes: 2,
                created_at: 3,
                expires_at: 4,
                sealed_request: vec![0, 255],
                sealed_answer: vec![0, 255]
            }),
        )
        .await;
        assert_matches(
            db,
            "retention_sweeps",
            row!(retention_sweeps { class: "t", swept_at: 1, rows_at: 2, rows_last: 3, rows_total: 4, mark: "m" }),
        )
        .await;
        assert_matches(
            db,
            "privacy_requests",
            row!(privacy_requests {
                id: "p",
                account_id: "a",
                kind: "export",
                channel: "session",
                status: "open",
                note: "n",
                created_by: "c",
                prior_status: "active".to_owned(),
                due_at: 1,
                next_at: 2,
                attempts: 3,
                claimed_by: "n".to_owned(),
                last_error: "e".to_owned(),
                progress: "{}",
                record: "{}".to_owned(),
                signature: "s".to_owned(),
                blob: "b".to_owned(),
                bytes: 4,
                expires_at: 5,
                completed_at: 6,
                created_at: 7
            }),
        )
        .await;
    })
    .await;
}

/// Every table and column of the migrated database is in the register of personal data, and nothing else is.
#[tokio::test]
async fn all_columns_are_classified() {
    with_db(async |db| {
        let text = match db.engine() {
            Engine::Sqlite => {
                "SELECT m.name AS t, p.name AS c FROM sqlite_master m, pragma_table_info(m.name) p \
                WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
            }
            Engine::Postgres => {
                "SELECT CAST(table_name AS TEXT) AS t, CAST(column_name AS TEXT) AS c FROM information_schema.columns \
                WHERE table_schema = current_schema()"
            }
        };
        let rows = sql::all(db.read(), text, []).await.unwrap();
        let column = |row: &sea_orm::QueryResult| (row.try_get::<String>("", "t").unwrap(), row.try_get::<String>("", "c").unwrap());
        let there: BTreeSet<(String, String)> = rows.iter().map(column).filter(|(table, _)| table != "seaql_migrations").collect();
        let classified: BTreeSet<(String, String)> = crate::domain::privacy::register::TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(|column| (table.name.to_owned(), column.name.to_owned())))
            .collect();
        let missing: Vec<_> = there.difference(&classified).collect();
        assert!(missing.is_empty(), "not classified in domain::privacy::register: {missing:?}");
        let gone: Vec<_> = classified.difference(&there).collect();
        assert!(gone.is_empty(), "classified, but not in the database: {gone:?}");
    })
    .await;
}
