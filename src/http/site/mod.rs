pub fn configure(_: &mut actix_web::web::ServiceConfig) {}
pub fn openapi_json() -> String { String::new() }
