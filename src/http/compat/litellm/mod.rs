//! LiteLLM's routes for keys and users. A user is an account, `max_budget` is in credits, a budget's duration is one of our periods.
//!
//! A field that this gateway cannot honour is refused by name, unless its value asks for nothing (`null`, `false`, `0`, empty).
//! Absent on purpose: teams, organisations, budgets of their own, spend logs.

mod caller;
mod fields;
mod keys;
mod shapes;
mod users;

use actix_web::web;

pub use self::{keys::*, users::*};
use crate::http::admin::only;

pub fn configure(routes: &mut web::ServiceConfig) {
    let post = |path: &'static str| web::resource(path).default_service(only("POST"));
    let get = |path: &'static str| web::resource(path).default_service(only("GET"));
    routes
        .service(post("/key/generate").route(web::post().to(generate_key)))
        .service(get("/key/info").route(web::get().to(key_info)))
        .service(post("/key/update").route(web::post().to(update_key)))
        .service(post("/key/delete").route(web::post().to(delete_keys)))
        .service(post("/key/block").route(web::post().to(block_key)))
        .service(post("/key/unblock").route(web::post().to(unblock_key)))
        .service(post("/key/{key}/regenerate").route(web::post().to(regenerate_key)))
        .service(post("/user/new").route(web::post().to(new_user)))
        .service(get("/user/info").route(web::get().to(user_info)));
}
