//! The account API under `/api/v1`, for owners: one file an area, each a thin shell around its use case.
//!
//! Every route that is not public takes an [`owner::Account`]: it knows who asks, for which account, and that a request with a
//! session cookie came from a page of ours. Absent on purpose: rules and writes (see `control`), pages (see `site`).

pub mod auth;
pub mod content;
pub mod identities;
pub mod image;
pub mod keys;
pub mod me;
pub mod members;
pub mod owner;
pub mod pages;
pub mod policies;
pub mod privacy;
pub mod privacy_pages;
pub mod session;
pub mod tickets;
pub mod visitor;

use actix_web::web;

pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .configure(session::configure)
        .configure(keys::configure)
        .configure(auth::configure)
        .configure(content::configure)
        .configure(me::configure)
        .configure(identities::configure)
        .configure(image::configure)
        .configure(policies::configure)
        .configure(members::configure)
        .configure(pages::configure)
        .configure(privacy::configure)
        .configure(privacy_pages::configure)
        .configure(tickets::configure);
}
