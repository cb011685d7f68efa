//! What every gateway can serve without any outside provider, for trials, tests and benches.

use super::{Control, ControlError, Model, Upstream, publish};
use crate::{
    domain::{
        Timestamp,
        catalog::{Capabilities, ModelKind, ProviderKind, Route},
        pricing::{Price, Unit},
        route::Routing,
    },
    store::{self, StoreError},
};

/// Name of the built-in upstream.
pub(super) const UPSTREAM: &str = "pixgate";
const ECHO: &str = "pixgate/echo";
const ECHO_EMBEDDING: &str = "pixgate/echo-embedding";
const PER_MILLION: i64 = 1_000_000;

pub(super) fn is_builtin_model(id: &str) -> bool {
    id == ECHO || id == ECHO_EMBEDDING
}

/// Adds what is missing of the built-in upstream and models. Prices, limits and switches that an admin changed stay as they are.
pub async fn ensure_builtin(control: &Control) -> Result<(), ControlError> {
    let now = control.clock.now();
    let stored = store::catalog::load_all(&control.db).await?;
    let mut added = false;
    if stored.upstreams.iter().all(|upstream| upstream.name != UPSTREAM) {
        added |= unless_exists(store::catalog::insert_upstream(&control.db, &echo_upstream(now)).await)?;
    }
    for model in [echo(now), echo_embedding(now)] {
        if stored.models.iter().all(|known| known.id != model.id) {
            added |= unless_exists(store::catalog::insert_model(&control.db, &model).await)?;
        }
    }
    if added { publish(control).await } else { Ok(()) }
}

/// Another node that starts at the same moment may be quicker.
fn unless_exists(inserted: Result<(), StoreError>) -> Result<bool, ControlError> {
    match inserted {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn echo_upstream(now: Timestamp) -> Upstream {
    Upstream::new(UPSTREAM, ProviderKind::Echo, now)
}

fn echo(now: Timestamp) -> Model {
    let price = |unit, micros| Price::new(unit, micros, PER_MILLION);
    Model {
        id: ECHO.to_owned(),
        kind: ModelKind::Chat,
        display_name: "Echo".to_owned(),
        aliases: Vec::new(),
        capabilities: Capabilities::default(),
        context_window: Some(128_000),
        max_input_tokens: None,
        max_output_tokens: Some(4_096),
        prices: vec![price(Unit::InputToken, 100_000), price(Unit::OutputToken, 400_000)],
        source: None,
        routes: vec![route(ECHO)],
        routing: Routing::default(),
        owner: Some(UPSTREAM.to_owned()),
        deprecated_at: None,
        enabled: true,
        created_at: now,
        updated_at: now,
    }
}

fn echo_embedding(now: Timestamp) -> Model {
    Model {
        id: ECHO_EMBEDDING.to_owned(),
        kind: ModelKind::Embedding,
        display_name: "Echo embedding".to_owned(),
        aliases: Vec::new(),
        capabilities: Capabilities::default(),
        context_window: Some(8_192),
        max_input_tokens: None,
        max_output_tokens: None,
        prices: vec![Price::new(Unit::InputToken, 20_000, PER_MILLION)],
        source: None,
        routes: vec![route(ECHO_EMBEDDING)],
        routing: Routing::default(),
        owner: Some(UPSTREAM.to_owned()),
        deprecated_at: None,
        enabled: true,
        created_at: now,
        updated_at: now,
    }
}

fn route(upstream_model: &str) -> Route {
    Route { upstream: UPSTREAM.to_owned(), upstream_model: upstream_model.to_owned(), weight: 1, priority: 0, costs: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pricing;

    #[test]
    fn built_in_prices_are_valid() {
        for model in [echo(0), echo_embedding(0)] {
            assert_eq!(pricing::validate(&model.prices), Ok(()), "{}", model.id);
            assert!(is_builtin_model(&model.id));
        }
    }
}
