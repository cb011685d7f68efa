//! Outages that are played, to see what callers would see.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Control, ControlError};
use crate::{
    control::{Actor, audit, input::check_range},
    domain::{SECOND, Timestamp},
};

const SECONDS_MAX: u64 = 3_600;

/// An outage to play.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrill {
    #[schema(minimum = 1, maximum = 3_600)]
    pub seconds: u64,
}

/// Answers until when it lasts.
pub async fn start_drill(control: &Control, actor: &Actor, name: &str, drill: &NewDrill) -> Result<Timestamp, ControlError> {
    check_range("seconds", drill.seconds, 1, SECONDS_MAX)?;
    let until = control.clock.now() + drill.seconds as Timestamp * SECOND;
    play(control, name, until)?;
    audit::note(control, actor, "upstream.drill", name, json!({ "seconds": drill.seconds })).await;
    Ok(until)
}

pub async fn end_drill(control: &Control, actor: &Actor, name: &str) -> Result<(), ControlError> {
    play(control, name, 0)?;
    audit::note(control, actor, "upstream.drill_end", name, json!({})).await;
    Ok(())
}

fn play(control: &Control, name: &str, until: Timestamp) -> Result<(), ControlError> {
    let snapshot = control.catalog.snapshot();
    let gate = snapshot.gate(name).ok_or_else(|| ControlError::NotFound(format!("an enabled upstream {name}")))?;
    gate.drill(until);
    Ok(())
}
