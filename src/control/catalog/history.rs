//! What models cost when: a record for every change of prices, never overwritten.

use super::{Control, ControlError, Model};
use crate::{
    clock::fill_random,
    control::{Actor, Page, PageRequest},
    domain::{
        Timestamp,
        catalog::{PriceRecord, PriceSource},
        id,
        pricing::Price,
    },
    store::{self, catalog::Current},
};

/// The records that a change from `known` to `model` leaves: one of the new prices, and before the first one ever also one of the old.
/// None when the prices stay.
pub(super) fn records(control: &Control, current: &Current, known: Option<&Model>, model: &Model, actor: &Actor) -> Vec<PriceRecord> {
    let (before, source_before) = known.map_or((&[][..], None), |known| (known.prices.as_slice(), known.source.as_ref()));
    if before == model.prices {
        return Vec::new();
    }
    let mut records = Vec::new();
    if let Some(known) = known
        && !before.is_empty()
        && !current.with_history.contains(&known.id)
    {
        records.push(record(&known.id, before, source_before, known.updated_at, &Actor::system().id));
    }
    records.push(record(&model.id, &model.prices, model.source.as_ref(), control.clock.now(), &actor.id));
    records
}

fn record(model_id: &str, prices: &[Price], source: Option<&PriceSource>, valid_from: Timestamp, created_by: &str) -> PriceRecord {
    let mut random = [0; 10];
    fill_random(&mut random);
    PriceRecord {
        id: id::prefixed("prc", valid_from, random),
        model_id: model_id.to_owned(),
        prices: prices.to_vec(),
        source: source.cloned(),
        valid_from,
        created_by: created_by.to_owned(),
    }
}

/// What a model cost, newest first; also of models that were deleted.
pub async fn list_prices(control: &Control, id: &str, page: &PageRequest) -> Result<Page<PriceRecord>, ControlError> {
    let records = store::catalog::list_prices(&control.db, id).await?;
    if records.is_empty() {
        super::get_model(control, id).await?;
    }
    Ok(Page::of_all(records, page, |record| record.id.clone()))
}
