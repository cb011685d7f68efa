//! This node and its actors: `/admin/v1/node`, `/admin/v1/actors`

use actix_web::{HttpResponse, web};

use super::{extract::Admin, only};
use crate::{
    actors::supervision::ActorNode,
    control::node::{self, NodeReport},
};

pub fn configure(routes: &mut web::ServiceConfig) {
    let report = web::resource("/admin/v1/node").route(web::get().to(get_node));
    let actors = web::resource("/admin/v1/actors").route(web::get().to(get_actors));
    routes.service(report.default_service(only("GET"))).service(actors.default_service(only("GET")));
}

/// This node
#[utoipa::path(get, path = "/admin/v1/node", tag = "Admin: node", security(("key" = ["admin"])), responses((status = 200, body = NodeReport)))]
pub async fn get_node(admin: Admin) -> HttpResponse {
    HttpResponse::Ok().json(node::report(&admin.control))
}

/// The supervision tree
///
/// Every actor of this node with its state, restarts, mailbox and last error; upstreams also with their breaker and resting keys. At most a thousand children of each are shown.
#[utoipa::path(get, path = "/admin/v1/actors", tag = "Admin: node", security(("key" = ["admin"])), responses((status = 200, body = ActorNode)))]
pub async fn get_actors(admin: Admin) -> HttpResponse {
    HttpResponse::Ok().json(node::actors(&admin.control).await)
}
