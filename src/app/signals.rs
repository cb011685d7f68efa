//! SIGTERM and SIGINT drain the node; a second one ends it at once.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{StartError, Stopper};
use crate::actors::detached;

/// Begins the orderly end at the first signal.
pub fn stop_on_signal(stopper: Stopper) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Runs beside the server for as long as it serves.
    drop(detached::run_to_end(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let stopping = stopper.stop();
        tokio::pin!(stopping);
        tokio::select! {
            () = &mut stopping => return,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending now; streams are cut and settled");
        stopper.stop_within(Duration::ZERO).await;
    }));
    Ok(())
}
