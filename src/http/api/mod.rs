//! What keys call: paid model calls, the catalogue as a key sees it, and what a caller may know about itself.

pub mod caller;
pub mod completions;
pub mod files;
pub mod gemini;
pub mod media;
pub mod messages;
pub mod models;
mod paid;
pub mod realtime;
pub mod responses;

use actix_web::web;

/// Ids contain slashes, so these routes take the rest of the path.
pub fn configure(routes: &mut web::ServiceConfig) {
    routes
        .service(completions::chat_completions)
        .service(completions::completions)
        .service(completions::embeddings)
        .service(media::moderations)
        .service(media::rerank)
        .service(media::image_generations)
        .service(media::image_edits)
        .service(media::speech)
        .service(media::transcriptions)
        .service(media::translations)
        .service(realtime::connect)
        .service(messages::messages)
        .service(messages::count_tokens)
        .service(responses::create)
        .service(responses::input_tokens)
        .service(responses::cancel)
        .service(responses::list_input_items)
        .service(responses::retrieve)
        .service(responses::delete_response)
        .service(files::upload_file)
        .service(files::list_files)
        .service(files::retrieve_file)
        .service(files::delete_file)
        .service(files::download_file)
        .service(gemini::call_model)
        .service(gemini::call_tuned_model)
        .route("/v1beta/{call:.+:[A-Za-z]+}", web::post().to(gemini::call_named))
        .service(models::list)
        .service(models::get)
        .service(models::list_gemini)
        .service(models::get_gemini)
        .service(caller::key)
        .service(caller::credits)
        .service(caller::usage)
        .service(caller::generation_content)
        .service(caller::generation);
}
