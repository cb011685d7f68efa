//! What the operator offers: models with prices and routes, and the upstreams behind them. A write counts for the very next call.

mod builtin;
mod drill;
mod history;
mod import;
mod models;
mod upstreams;

pub use self::{
    builtin::ensure_builtin,
    drill::{NewDrill, end_drill, start_drill},
    history::list_prices,
    import::{Action, Calculator, Format, Import, ImportChange, ImportCounts, ImportEntry, ImportReport, Origin, import_models},
    models::{ModelPatch, NewModel, check_model, create_model, delete_model, get_model, list_models, patch_model},
    upstreams::{
        NewUpstream, TimeoutsInput, UpstreamPatch, UpstreamTest, check_upstream, create_upstream, delete_upstream, get_upstream,
        list_upstreams, patch_upstream, test_upstream,
    },
};
use super::{Control, ControlError};
use crate::actors::catalog::ReloadError;

pub use crate::domain::catalog::{Model, PriceRecord, PriceSource, Upstream};

const WEIGHT_MAX: u32 = 10_000;
const PRIORITY_MAX: i32 = 10_000;

/// Has every call that begins from now on see what the store holds.
async fn publish(control: &Control) -> Result<(), ControlError> {
    control.catalog.reload().await.map_err(|error| match error {
        ReloadError::Store(error) => error.into(),
        ReloadError::Actor(error) => ControlError::Unavailable(format!("the catalogue's actor did not answer: {error:?}")),
    })
}
