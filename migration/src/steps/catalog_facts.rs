//! What is known of models beyond price and route, and every price they ever had.

use crate::Step;

pub const STEP: Step = Step {
    name: "m20261122_000005_catalog_facts",
    both: &[
        "ALTER TABLE models ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE models ADD COLUMN capabilities TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE models ADD COLUMN max_input_tokens BIGINT",
        "ALTER TABLE models ADD COLUMN deprecated_at TEXT",
        "ALTER TABLE models ADD COLUMN owner TEXT",
        "ALTER TABLE models ADD COLUMN price_source TEXT",
        // No foreign key: what a model cost stays known when the model is gone.
        "CREATE TABLE model_prices (
            id TEXT NOT NULL PRIMARY KEY,
            model_id TEXT NOT NULL,
            prices TEXT NOT NULL,
            source TEXT,
            valid_from BIGINT NOT NULL,
            created_by TEXT NOT NULL
        )",
        "CREATE INDEX model_prices_model_id ON model_prices (model_id, id)",
    ],
    sqlite: &[
        "CREATE TRIGGER model_prices_no_update BEFORE UPDATE ON model_prices
            BEGIN SELECT RAISE(ABORT, 'model_prices is append-only'); END",
        "CREATE TRIGGER model_prices_no_delete BEFORE DELETE ON model_prices
            BEGIN SELECT RAISE(ABORT, 'model_prices is append-only'); END",
    ],
    postgres: &["CREATE TRIGGER model_prices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_prices
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"],
};
