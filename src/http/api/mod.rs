//! What keys call: paid model calls, the catalogue as a key sees it, and what a caller may know about itself.

pub mod caller;
pub mod completions;
pub mod models;
mod paid;

use actix_web::web;

/// Ids contain slashes, so these routes take the rest of the path.
pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .service(completions::chat_completions)
        .service(completions::completions)
        .service(completions::embeddings)
        .service(models::list)
        .service(models::get)
        .service(caller::key)
        .service(caller::credits)
        .service(caller::usage)
        .service(caller::generation);
}
