//! What other services call: one file a service. Each proves by a signature who it is.
//!
//! Absent on purpose: what follows from a call (see `control`).

pub mod secret_scanning;

use actix_web::web;

pub fn configure(routes: &mut web::ServiceConfig) {
    routes.configure(secret_scanning::configure);
}
